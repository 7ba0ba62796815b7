"""What the mail with a code says, and that nothing in it can become more than text or end a header."""

from __future__ import annotations

from dataclasses import replace
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from authd.config import OneTimePinConfig, parse_email
from authd.idp.code_mail import CodeMail, compose

MAIL = CodeMail(
    code="012345",
    link="https://auth.example.com:8443/cdn-cgi/access/verify-code?state=a.b&key=c",
    application_name="Grafana",
    host="grafana.example.com",
    client_ip="192.0.2.7",
    valid_minutes=10,
)


def make_message(
    recipient: str = "alice@example.com", sender: str = "login@example.com", **changes: Any
) -> EmailMessage:
    written = {"id": "guests", "type": "onetimepin", "mail": {"server": "smtp.example.com", "sender": sender}}
    settings = OneTimePinConfig.model_validate(written, context={"base_dir": Path()})
    mail = replace(MAIL, **changes)
    return compose(mail, recipient, settings=settings, team_origin="https://auth.example.com:8443", now=1_800_000_000)


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_both_parts_say_the_same(kind: str) -> None:
    text = text_of(make_message(), kind).replace("&amp;", "&")

    for part in (MAIL.code, MAIL.link, "Grafana", "grafana.example.com", "192.0.2.7", "https://auth.example.com:8443."):
        assert part in text


def test_the_name_of_an_application_is_text_and_may_be_of_any_script() -> None:
    message = make_message(application_name='Zähler <img src="x"> & Co')

    assert 'Zähler <img src="x"> & Co' in text_of(message, "plain")
    html = text_of(message, "html")
    tags: list[str] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    reader.feed(html)
    assert "Zähler &lt;img" in html
    assert not {"img", "script", "link"} & set(tags)


def test_the_mail_is_no_place_to_come_back_to_for_a_program() -> None:
    message = make_message()

    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@auth.example.com>")
    assert message["Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"


@pytest.mark.parametrize(
    "recipient",
    [
        "alice@example.com",
        "o'hara@example.com",
        "a..b@example.com",
        ".a@example.com",
        "-f@example.com",
        "a=b@x.example",
    ],
)
def test_every_address_that_is_one_stands_in_the_header_as_it_is(recipient: str) -> None:
    assert parse_email(recipient) == recipient

    message = make_message(recipient)

    assert [address.addr_spec for address in message["To"].addresses] in ([recipient], [_quoted(recipient)])
    assert message.as_bytes().count(b"\nTo:") == 1


def _quoted(recipient: str) -> str:
    local, _, domain = recipient.rpartition("@")
    return f'"{local}"@{domain}'


@pytest.mark.parametrize("sender", ["Büro <login@example.com>", '"Login, please" <login@example.com>'])
def test_a_sender_has_one_address_whatever_its_name(sender: str) -> None:
    message = make_message(sender=sender)

    assert [address.addr_spec for address in message["From"].addresses] == ["login@example.com"]


def test_the_code_shows_in_no_repr() -> None:
    assert MAIL.code not in repr(MAIL)
