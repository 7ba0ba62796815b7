"""Mail handed to a real server: over TLS that is verified, within its deadline, with errors that say what is wrong."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.config import parse_email
from authd.errors import MailError
from authd.mail import MailServer, PostOffice
from tests.harness.smtp import PASSWORD, USERNAME, start_mail_server
from tests.harness.smtp import MailServer as RunningServer

SENDER = "login@example.com"


def make_message(recipient: str = "alice@example.com") -> EmailMessage:
    message = EmailMessage()
    message["From"] = SENDER
    local, _, domain = recipient.rpartition("@")
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = "A subject"
    message.set_content("123456\n")
    return message


def make_office(running: RunningServer, *, deadline_seconds: float = 5, **changes: Any) -> PostOffice:
    values: dict[str, Any] = {
        "host": "localhost",
        "port": running.port,
        "encryption": "starttls",
        "username": USERNAME,
        "password": PASSWORD,
        "authorities_pem": running.certificate.read_text(),
    }
    return PostOffice(MailServer(**values | changes), local_host="auth.example.com", deadline_seconds=deadline_seconds)


async def send(office: PostOffice, recipient: str = "alice@example.com") -> None:
    try:
        await office.hand_over(make_message(recipient), sender=SENDER, recipient=recipient)
    finally:
        office.close()


async def fail(office: PostOffice, recipient: str = "alice@example.com") -> MailError:
    with pytest.raises(MailError) as caught:
        await send(office, recipient)
    assert PASSWORD not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
async def test_a_mail_is_handed_over_encrypted_and_after_a_login(tmp_path: Path, encryption: str) -> None:
    with start_mail_server(tmp_path, implicit_tls=encryption == "tls") as running:
        await send(make_office(running, encryption=encryption))

    (mail,) = running.mails
    assert (mail.sender, mail.recipients) == (SENDER, ("alice@example.com",))
    assert mail.is_encrypted
    assert mail.is_authenticated


async def test_without_a_user_name_nobody_logs_in(tmp_path: Path) -> None:
    with start_mail_server(tmp_path, demands_login=False) as running:
        await send(make_office(running, username=None, password=None))

    assert [mail.is_authenticated for mail in running.mails] == [False]


async def test_a_server_that_offers_no_starttls_gets_neither_password_nor_mail(tmp_path: Path) -> None:
    with start_mail_server(tmp_path, offers_starttls=False) as running:
        error = await fail(make_office(running))

    assert (error.cause, error.is_lasting) == ("unsupported", True)
    assert running.mails == []


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
async def test_a_certificate_of_another_name_is_not_believed(tmp_path: Path, encryption: str) -> None:
    with start_mail_server(tmp_path, implicit_tls=encryption == "tls", names=("elsewhere.test",)) as running:
        error = await fail(make_office(running, encryption=encryption))

    assert error.cause == "tls"
    assert running.mails == []


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    with start_mail_server(tmp_path) as running:
        error = await fail(make_office(running, authorities_pem=None))

    assert error.cause == "tls"


async def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    with start_mail_server(tmp_path) as running:
        error = await fail(make_office(running, password="wrong-password"))

    assert (error.cause, error.is_lasting) == ("authentication", True)
    assert "wrong-password" not in str(error)
    assert "wrong-password" not in repr(MailServer("mail.test", 25, "tls", "authd", "wrong-password"))


@pytest.mark.parametrize(("reply", "is_lasting"), [("451 later", False), ("550 never", True)])
async def test_a_refusal_says_whether_it_lasts(tmp_path: Path, reply: str, is_lasting: bool) -> None:
    with start_mail_server(tmp_path) as running:
        running.refusals.append(reply)
        error = await fail(make_office(running))

    assert (error.cause, error.is_lasting) == ("recipient", is_lasting)
    assert reply.split()[1] in str(error)


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it(tmp_path: Path) -> None:
    with start_mail_server(tmp_path) as running:
        await send(make_office(running), "žofie@xn--exmple-cua.com")
    with start_mail_server(tmp_path, is_international=False) as old:
        error = await fail(make_office(old), "žofie@xn--exmple-cua.com")

    assert [mail.recipients for mail in running.mails] == [("žofie@xn--exmple-cua.com",)]
    assert "SMTPUTF8" in running.mails[0].options
    assert (error.cause, old.mails) == ("unsupported", [])


async def test_a_bad_goodbye_makes_no_mail_go_out_twice(tmp_path: Path) -> None:
    with start_mail_server(tmp_path) as running:
        running.goodbye = "421 too busy to say goodbye"
        await send(make_office(running))

    assert len(running.mails) == 1


@given(st.text("abz019!#$&'*/=?^_`{|}~.-žß漢", min_size=1, max_size=64))
def test_no_address_means_another_one_to_the_library_that_sends(local: str) -> None:
    address = parse_email(f"{local}@example.com")

    assert address is None or smtplib.quoteaddr(address) == f"<{address}>"


async def test_nobody_listens(tmp_path: Path) -> None:
    with start_mail_server(tmp_path) as running:
        pass

    error = await fail(make_office(running))

    assert (error.cause, error.is_lasting) == ("unreachable", False)


@contextmanager
def dripping_server() -> Iterator[int]:
    """Sends one byte of a greeting every tenth of a second, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            while not ended.wait(0.1):
                try:
                    connection.sendall(b"2")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    yield listener.getsockname()[1]
    ended.set()
    thread.join()


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
async def test_a_server_that_drips_is_cut_when_the_time_is_up(tmp_path: Path, encryption: str) -> None:
    with dripping_server() as port:
        office = PostOffice(MailServer("127.0.0.1", port, encryption), local_host="x", deadline_seconds=0.5)  # type: ignore[arg-type]
        began = time.monotonic()
        error = await fail(office)
        took = time.monotonic() - began
        await asyncio.sleep(0.3)
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("mail")]

    assert error.cause in ("timeout", "tls")
    assert took < 2
    assert threads == []
