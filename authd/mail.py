"""Mail, handed to one server by SMTP (RFC 5321): over TLS, with one deadline, and nothing kept afterwards.

    post = PostOffice(server, local_host="auth.example.com")
    await post.hand_over(message, sender="login@example.com", recipient="alice@example.com")

Whether to try again is the caller's business: `MailError.is_lasting` says whether it would help.
"""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.generator import BytesGenerator
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from io import BytesIO
from typing import Literal

from authd.errors import MailError
from authd.open_sockets import OpenSockets

DEADLINE_SECONDS = 20.0
THREADS = 4
_GOODBYE_SECONDS = 1.0
_MAX_REPLY_CHARACTERS = 200

Encryption = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over. With a user name there is a password, and the other way round.

    `authorities_pem` are the certificates that vouch for it, None for the system's.
    """

    host: str
    port: int
    encryption: Encryption
    username: str | None = None
    password: str | None = None
    authorities_pem: str | None = None

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port}, {self.encryption})"


class PostOffice:
    """The way to one mail server, in threads of its own: a slow one delays nothing but mail."""

    def __init__(self, server: MailServer, *, local_host: str, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """`local_host` is how we introduce ourselves; smtplib alone would ask the resolver who we are."""
        self._server = server
        self._local_host = local_host
        self._deadline_seconds = deadline_seconds
        self._tls: ssl.SSLContext | None = None
        self._is_closed = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mail")

    async def hand_over(self, message: EmailMessage, *, sender: str, recipient: str) -> None:
        """Returns when the server has taken responsibility (RFC 5321 4.2.5). Raises MailError.

        A connection that breaks after the last byte leaves it open whether the mail is under way.
        """
        if self._is_closed:
            raise MailError("closed", "the settings of the mail server were just replaced", is_lasting=False)
        sockets = OpenSockets()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                if self._tls is None:
                    self._tls = await loop.run_in_executor(self._threads, self._create_context)
                call = _Call(self._server, self._tls, self._local_host, self._deadline_seconds, sockets)
                await loop.run_in_executor(self._threads, call.run, message, sender, recipient)
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            raise _explain(error) from None
        finally:
            sockets.cut()

    def _create_context(self) -> ssl.SSLContext:
        # In a thread: reading the system's authorities takes a tenth of a second.
        return ssl.create_default_context(cadata=self._server.authorities_pem)

    def close(self) -> None:
        """Take no more mail. What is under way ends as it would have."""
        self._is_closed = True
        self._threads.shutdown(wait=False)


@dataclass(frozen=True, slots=True)
class _Call:
    """One connection, as the thread sees it."""

    server: MailServer
    tls: ssl.SSLContext
    local_host: str
    timeout_seconds: float
    sockets: OpenSockets

    def run(self, message: EmailMessage, sender: str, recipient: str) -> None:
        smtp = _HeldSmtp(self)
        try:
            self._send(smtp, message, sender, recipient)
            # It has the mail now: whatever becomes of the goodbye must not make anybody send it again.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._say_goodbye(smtp)
        finally:
            smtp.close()

    def _send(self, smtp: smtplib.SMTP, message: EmailMessage, sender: str, recipient: str) -> None:
        if self.server.encryption == "starttls":
            # Raises if the server does not offer it: somebody between us may have taken the offer out.
            smtp.starttls(context=self.tls)
        if self.server.username is not None and self.server.password is not None:
            smtp.login(self.server.username, self.server.password)
        content, options = _render(message, recipient)
        if options:
            smtp.ehlo_or_helo_if_needed()
            if not smtp.has_extn("smtputf8"):
                raise smtplib.SMTPNotSupportedError("no SMTPUTF8")
        smtp.sendmail(sender, [recipient], content, options)

    def _say_goodbye(self, smtp: smtplib.SMTP) -> None:
        if smtp.sock is not None:
            smtp.sock.settimeout(_GOODBYE_SECONDS)
        smtp.quit()


class _HeldSmtp(smtplib.SMTP):
    """smtplib's client, whose connection can be cut from outside from its first moment on."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        super().__init__(
            call.server.host, call.server.port, local_hostname=call.local_host, timeout=call.timeout_seconds
        )

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = socket.create_connection((host, port), timeout)
        self._call.sockets.hold(connected)
        if self._call.server.encryption == "tls":
            return self._call.tls.wrap_socket(connected, server_hostname=host)
        return connected


def _render(message: EmailMessage, recipient: str) -> tuple[bytes, tuple[str, ...]]:
    """The message's bytes, and the options of MAIL FROM: an address beyond ASCII needs RFC 6531."""
    is_international = not recipient.isascii()
    buffer = BytesIO()
    BytesGenerator(buffer, policy=SMTPUTF8 if is_international else SMTP).flatten(message)
    return buffer.getvalue(), ("SMTPUTF8", "BODY=8BITMIME") if is_international else ()


def _explain(error: Exception) -> MailError:
    """What the operator needs, and no more: a server may repeat in its reply what it was sent."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return _refused("authentication", "does not accept user name and password", error.smtp_code)
        case smtplib.SMTPRecipientsRefused():
            code, reply = next(iter(error.recipients.values()))
            return _refused("recipient", f"does not accept the recipient ({_quote(reply)})", code)
        case smtplib.SMTPResponseException():
            return _refused("refused", f"refuses ({_quote(error.smtp_error)})", error.smtp_code)
        case smtplib.SMTPNotSupportedError():
            sentence = "the mail server does not offer what is needed (STARTTLS, AUTH, or SMTPUTF8)"
            return MailError("unsupported", sentence, is_lasting=True)
        case ssl.SSLError():
            sentence = "no trusted TLS connection to the mail server; is its authority among the system's?"
            return MailError("tls", sentence, is_lasting=False)
        case TimeoutError():
            return MailError("timeout", "the mail server did not take the mail in time", is_lasting=False)
    return MailError("unreachable", "the connection to the mail server fails", is_lasting=False)


def _refused(cause: str, sentence: str, code: int) -> MailError:
    # RFC 5321 4.2.1: 4yz may work later, 5yz will not.
    return MailError(cause, f"the mail server {sentence}: {code}", is_lasting=code >= 500)


def _quote(reply: bytes | str) -> str:
    text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply
    return "".join(character if character.isprintable() else " " for character in text)[:_MAX_REPLY_CHARACTERS]
