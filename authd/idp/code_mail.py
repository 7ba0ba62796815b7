"""The mail with the code: plain text, and the same in HTML. It asks for no image and names nothing from the visitor
but their network address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from authd.config.onetimepin import OneTimePinConfig


@dataclass(frozen=True, slots=True)
class CodeMail:
    """What the mail says. `link` leads to the page that asks for the code; `client_ip` is who asked for it."""

    code: str
    link: str
    application_name: str
    host: str
    client_ip: str
    valid_minutes: int

    def __repr__(self) -> str:
        return "CodeMail(...)"


def compose(
    mail: CodeMail, recipient: str, *, settings: OneTimePinConfig, team_origin: str, now: float
) -> EmailMessage:
    """The message. `recipient` was parsed; every header is built from parts, so that none can end early.

    `team_origin` is `https://host[:port]`, the only place where a code may be typed.
    """
    local, _, domain = recipient.rpartition("@")
    message = EmailMessage()
    message["From"] = settings.mail.sender
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = settings.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(int(now), UTC))
    message["Message-ID"] = make_msgid(domain=urlsplit(team_origin).hostname)
    # RFC 3834: no vacation notice shall answer this.
    message["Auto-Submitted"] = "auto-generated"
    values: dict[str, Any] = {"mail": mail, "team_origin": team_origin}
    message.set_content(_PLAIN.get_template("code_mail.txt").render(values))
    message.add_alternative(_HTML.get_template("code_mail.html").render(values), subtype="html")
    return message


def _environment(*, autoescape: bool) -> Environment:
    return Environment(
        loader=PackageLoader("authd.idp"),
        undefined=StrictUndefined,
        autoescape=autoescape,  # noqa: S701 - False for the plain text only
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_PLAIN, _HTML = _environment(autoescape=False), _environment(autoescape=True)
