"""The pages that people see: plain HTML and one style sheet, without any script.

Every value comes from outside and is text: Jinja2 escapes all of it, a missing value is an error,
and addresses pass `verify_link` before they stand in a link or a form. Status and headers are the
resource's business; see `security_headers`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from authd.resources.page_headers import SECURITY_HEADERS, security_headers, verify_link
from authd.resources.page_text import (
    render_in_groups,
    render_printable,
    render_waiting_time,
)

__all__ = ["SECURITY_HEADERS", "Page", "Pages", "ProviderChoice", "Stylesheet", "security_headers"]

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Page:
    """A finished page, to be sent as `text/html; charset=utf-8`. It can always be encoded."""

    html: str


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """One way to log in: what the person reads, and where it leads (a path or an http(s) URL)."""

    name: str
    url: str


class Stylesheet(NamedTuple):
    """The style sheet's bytes (`text/css; charset=utf-8`) and its strong entity tag, quotes included."""

    content: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session as its person sees it. `place` is an address or a country; times are in words."""

    id: str
    device: str
    place: str
    began: str
    used: str
    is_this_one: bool


class Pages:
    """Makes every page of authd. Templates are read and compiled once, when this is made.

    Every method takes keyword arguments only, returns a `Page`, and raises ValueError if an address
    that would stand in a link or as a form's target is neither a path nor an http(s) URL.
    `reference` is what the log line of the same event carries. Sentences are shown as they are
    given, so they must be whole ones and hold nothing that the visitor may not know.
    """

    def __init__(self, path_prefix: str) -> None:
        """`path_prefix` is the setting of that name (or empty). Raises ValueError if it is no path."""
        content = (_TEMPLATES / "style.css").read_bytes()
        self._version = hashlib.sha256(content).hexdigest()[:16]
        self._stylesheet = Stylesheet(content, f'"{self._version}"')
        environment = _create_environment()
        environment.globals["stylesheet_url"] = verify_link(f"{path_prefix}/style.css?v={self._version}")
        self._templates = {name: environment.get_template(name) for name in environment.list_templates(["html"])}

    @property
    def stylesheet(self) -> Stylesheet:
        """What `<path_prefix>/style.css` answers."""
        return self._stylesheet

    @property
    def stylesheet_version(self) -> str:
        """The `v` of the style sheet's address. With any other `v` the answer must not be kept for long."""
        return self._version

    def chooser(self, *, application_name: str, host: str, providers: Sequence[ProviderChoice]) -> Page:
        """Several identity providers: the person picks one. Their order is kept."""
        choices = [(provider.name, verify_link(provider.url)) for provider in providers]
        return self._render("chooser", application_name=application_name, host=host, choices=choices)

    def pin_address(self, *, application_name: str, host: str, action: str, mistake: str) -> Page:
        """Ask for an e-mail address (POST to `action`, field `email`); `mistake` says what was wrong, or is empty."""
        return self._render(
            "pin_address", application_name=application_name, host=host, action=verify_link(action), mistake=mistake
        )

    def pin_code(
        self,
        *,
        application_name: str,
        host: str,
        email: str,
        valid_minutes: int,
        action: str,
        resend_action: str,
        again_url: str,
        key: str,
        mistake: str,
        exhausted: bool,
    ) -> Page:
        """Ask for the code (POST to `action`, field `code`), or with a `key` for a confirmation only (field `key`).

        `exhausted`: only a new code helps (POST to `resend_action`); `again_url` asks for another address.
        """
        return self._render(
            "pin_code",
            application_name=application_name,
            host=host,
            email=email,
            valid_minutes=valid_minutes,
            action=verify_link(action),
            resend_action=verify_link(resend_action),
            again_link=verify_link(again_url),
            key=key,
            mistake=mistake,
            exhausted=exhausted,
        )

    def pin_elsewhere(self) -> Page:
        """The link of a mail, opened in a browser that asked for no code."""
        return self._render("pin_elsewhere")

    def logged_in(self, *, host: str, url: str) -> Page:
        """Goes on to `url` by itself, as a redirect would.

        The answer to a form must not redirect to an application: Chromium holds every further redirect, those of the
        application included, against `form-action`.
        """
        return self._render("logged_in", host=host, link=verify_link(url))

    def denied(
        self,
        *,
        application_name: str,
        host: str,
        account: str | None,
        sentence: str,
        reference: str,
        custom_message: str | None,
        logout_action: str,
        switch_url: str | None,
    ) -> Page:
        """The application refuses this person, or (`account` None) anybody who asks in this way.

        With an account and a `switch_url` there is a link to that, which begins a login with another one (a link and
        no form: Chromium holds every redirect after a form against `form-action`, and the login leads to
        the provider's origin), and a form that logs out (POST to `logout_action`).
        `custom_message` is the operator's text; its line ends are kept.
        """
        return self._render(
            "denied",
            application_name=application_name or host,
            host=host,
            account=account,
            sentence=sentence,
            reference=reference,
            custom_message=custom_message,
            switch_link=verify_link(switch_url) if switch_url else None,
            logout_action=verify_link(logout_action),
        )

    def edge_needed(self, *, application_name: str, host: str, edge: str, reference: str) -> Page:
        """The application only takes visitors whom the edge vouches for, and nobody vouched for this one."""
        return self._render("edge_needed", application_name=application_name, host=host, edge=edge, reference=reference)

    def login_needed(self, *, application_name: str, host: str, login_url: str, method: str) -> Page:
        """A request with a body (a POST, say) came without a session; its body is gone by now."""
        return self._render(
            "login_needed",
            application_name=application_name,
            host=host,
            login_url=verify_link(login_url),
            method=method,
        )

    def login_failed(self, *, title: str, sentence: str, reference: str, start_url: str | None) -> Page:
        """One login attempt cannot go on; `start_url` begins a new one."""
        start_link = verify_link(start_url) if start_url else None
        return self._render(
            "login_failed", heading=title, sentence=sentence, reference=reference, start_link=start_link
        )

    def login_loop(self, *, cause: str, advice: str, host: str, start_url: str, reference: str) -> Page:
        """The browser keeps coming back without the cookie that it was given."""
        return self._render(
            "login_loop",
            cause=cause,
            advice=advice,
            host=host,
            start_link=verify_link(start_url),
            reference=reference,
        )

    def outage(self, *, sentence: str, what: str, reference: str) -> Page:
        """Something that authd needs does not answer; `what` names it ("The session store", say)."""
        return self._render("outage", sentence=sentence, what=what, reference=reference)

    def too_many_attempts(self, *, retry_after_seconds: int, reference: str) -> Page:
        """The rate limit of logins is reached. Below one second counts as one."""
        waiting_time = render_waiting_time(retry_after_seconds)
        return self._render("too_many_attempts", waiting_time=waiting_time, reference=reference)

    def logout_confirm(
        self, *, account: str | None, action: str, return_to: str | None, application_name: str | None = None
    ) -> Page:
        """Ask before logging out: a GET alone may come from anywhere. With an application's name, of it or of all
        (field `scope`: `application`).

        `return_to` comes back with the form (POST to `action`, field `return_to`, left out where it
        is None or empty) and is not checked here.
        """
        return self._render(
            "logout_confirm",
            account=account,
            action=verify_link(action),
            return_to=return_to or None,
            application_name=application_name,
        )

    def logged_out(
        self,
        *,
        start_url: str | None,
        provider_note: bool,
        go_on_url: str | None = None,
        left: str | None = None,
        logout_action: str = "/",
    ) -> Page:
        """The session is over, or one application (`left`) was left. `provider_note`: the identity provider may still
        know the person. Goes on to `go_on_url` by itself: the answer to a form cannot redirect to another origin."""
        return self._render(
            "logged_out",
            start_link=verify_link(start_url) if start_url else None,
            provider_note=provider_note,
            go_on_link=verify_link(go_on_url) if go_on_url else None,
            left=left,
            logout_action=verify_link(logout_action),
        )

    def launcher(
        self,
        *,
        account: str | None,
        applications: Sequence[tuple[str, str]],
        logout_action: str,
        sessions: Sequence[SessionLine] = (),
        end_action: str = "/",
        form_token: str = "",
    ) -> Page:
        """The applications that are open to this account, as (name, URL), in this order; None: nobody is logged in.

        A session is ended by a form (POST to `end_action`, fields `token` and `session`: its id, `others` or `all`).
        """
        return self._render(
            "launcher",
            account=account,
            choices=[(name, verify_link(url)) for name, url in applications],
            sessions=sessions,
            end_action=verify_link(end_action),
            form_token=form_token,
            logout_action=verify_link(logout_action),
        )

    def malformed(self, *, sentence: str, reference: str) -> Page:
        """The request itself cannot be answered: an address that can be read in two ways, say."""
        return self._render("malformed", sentence=sentence, reference=reference)

    def _render(self, name: str, **values: Any) -> Page:
        return Page(self._templates[f"{name}.html"].render(values))


def _create_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,  # for every name: select_autoescape() would go by the file's ending
        undefined=StrictUndefined,
        finalize=render_printable,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["in_groups"] = render_in_groups
    return environment
