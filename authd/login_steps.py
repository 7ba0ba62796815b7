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


@dataclass(frozen=True, slots=True)
class AskAddress:
    """A code can be sent by mail: to where? `page_url` takes the answer; `mistake` is what was wrong with the last
    one, "" at first."""

    application: Application
    host: str
    page_url: str
    mistake: str = ""


@dataclass(frozen=True, slots=True)
class AskCode:
    """A code was asked for: what is it? With a `key` (from the mail's link) only a confirmation is missing.

    `exhausted`: too many tries, only a new code helps.
    """

    application: Application
    host: str
    page_url: str
    resend_url: str
    email: str
    key: str = ""
    mistake: str = ""
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A link from a mail was opened in a browser that asked for nothing."""
