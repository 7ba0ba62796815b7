"""What a step of the login is given, and what it answers: values that `login.py` and the resources share."""

from __future__ import annotations

from dataclasses import dataclass

from authd.model import Decision, Facts, Session
from authd.policy.index import Application


@dataclass(frozen=True, slots=True)
class Client:
    """Where a login comes from. `address` was parsed; `user_agent` is only shown and never decides."""

    facts: Facts
    user_agent: str
    cookie_header: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the browser on, with these cookies. `session` is the one that is handed over, if any."""

    location: str
    cookies: tuple[str, ...] = ()
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Choose:
    """Several providers could say who this is: name and address of each."""

    application: Application
    host: str
    choices: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Denied:
    """Logged in, and not admitted to this application."""

    application: Application
    host: str
    return_path: str
    session: Session
    decision: Decision
    cookies: tuple[str, ...] = ()
