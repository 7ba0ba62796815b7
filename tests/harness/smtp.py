"""A real mail server on loopback (aiosmtpd): STARTTLS or implicit TLS, AUTH, and the mails that it took.

with start_mail_server(tmp_path) as server:
    ...                                  # server.port, server.certificate, server.mails
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.harness.certificates import write_certificate

USERNAME, PASSWORD = "authd", "mail-password-of-the-tests"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that was taken, with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]
    message: EmailMessage
    is_encrypted: bool
    is_authenticated: bool

    @property
    def plain(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def html(self) -> str:
        part = self.message.get_body(("html",))
        assert part is not None
        return str(part.get_content())

    @property
    def code(self) -> str:
        """The digits, six of them or eight."""
        (found,) = re.findall(r"^    (\d{6}|\d{8})$", self.plain, re.MULTILINE)
        return str(found)

    @property
    def link(self) -> str:
        (found,) = re.findall(r"^https://\S+/verify-code\S+$", self.plain, re.MULTILINE)
        return str(found)


@dataclass(slots=True)
class MailServer:
    """A running server. `refusals` are replies to RCPT, taken one by one; `goodbye` is the reply to QUIT."""

    port: int
    certificate: Path
    mails: list[Mail] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    goodbye: str = "221 Bye"

    def wait_for(self, count: int, seconds: float = 10) -> list[Mail]:
        """The mails, once there are so many."""
        deadline = time.monotonic() + seconds
        while len(self.mails) < count:
            assert time.monotonic() < deadline, f"{len(self.mails)} mails, and not {count}"
            time.sleep(0.02)
        return self.mails

    def find_for(self, address: str) -> Mail:
        """The newest mail to an address, once there is one."""
        deadline = time.monotonic() + 10
        while True:
            found = [mail for mail in self.mails if address in mail.recipients]
            if found:
                return found[-1]
            assert time.monotonic() < deadline, f"no mail for {address}"
            time.sleep(0.02)


class _Handler:
    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._server.refusals:
            return self._server.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_QUIT(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return self._server.goodbye

    async def handle_DATA(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        # As text: the parser of bytes takes headers beyond ASCII (RFC 6532) for mistakes.
        message = message_from_string(content.decode(), policy=policy.default)
        assert isinstance(message, EmailMessage)
        mail = Mail(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            options=tuple(envelope.mail_options),
            message=message,
            is_encrypted=session.ssl is not None or smtp.transport.get_extra_info("ssl_object") is not None,
            is_authenticated=bool(session.authenticated),
        )
        self._server.mails.append(mail)
        return "250 taken"


def _authenticate(server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USERNAME.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


@contextlib.contextmanager
def start_mail_server(
    directory: Path,
    *,
    implicit_tls: bool = False,
    offers_starttls: bool = True,
    demands_login: bool = True,
    names: tuple[str, ...] = ("localhost",),
    is_international: bool = True,
    port: int = 0,
) -> Iterator[MailServer]:
    """Run a server until the end of the block. Its certificate is for `names` and vouches for itself."""
    certificate, key = write_certificate(directory / "mail", names)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = MailServer(port, certificate)

    protocols: list[SMTP] = []

    def create() -> SMTP:
        with warnings.catch_warnings():
            # aiosmtpd does not know that TLS may have begun before it.
            warnings.simplefilter("ignore", UserWarning)
            protocol = SMTP(
                _Handler(server),
                hostname="mail.test",
                tls_context=tls if offers_starttls and not implicit_tls else None,
                require_starttls=offers_starttls and not implicit_tls,
                auth_require_tls=offers_starttls and not implicit_tls,
                authenticator=_authenticate,
                auth_required=demands_login,
                enable_SMTPUTF8=is_international,
                loop=loop,
            )
        protocols.append(protocol)
        return protocol

    loop = asyncio.new_event_loop()
    with _running(loop):
        opening = loop.create_server(create, HOST, port, ssl=tls if implicit_tls else None)
        listener = asyncio.run_coroutine_threadsafe(opening, loop).result()
        server.port = listener.sockets[0].getsockname()[1]
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(_close, listener, protocols)


@contextlib.contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """The loop in a thread of its own, so that tests with a loop of theirs can use it too."""
    thread = threading.Thread(target=_run, args=(loop,))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _close(listener: asyncio.Server, protocols: list[SMTP]) -> None:
    listener.close()
    for protocol in protocols:
        if protocol.transport is not None:
            protocol.transport.abort()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    # Time for connections to close, which take a few rounds over TLS.
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()


def write_mail_settings(server: MailServer, **changes: Any) -> dict[str, Any]:
    """The `mail` section of a configuration that hands over to this server."""
    settings: dict[str, Any] = {
        "server": f"localhost:{server.port}",
        "sender": "Example login <login@example.com>",
        "ca_file": str(server.certificate),
        "username": USERNAME,
        "password_env": "AUTHD_TEST_MAIL_PASSWORD",
    }
    return settings | changes
