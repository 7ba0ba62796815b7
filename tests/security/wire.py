"""Bytes over TLS to the real nginx, as no browser would send them."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.harness.raw_http import Message, read_message
from tests.harness.stack import Stack

_TIMEOUT_SECONDS = 20


@functools.cache
def _context() -> ssl.SSLContext:
    # Made once: reading the machine's authorities costs more than a request.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def send(stack: Stack, host: str, data: bytes) -> Message | None:
    """Send exactly these bytes to a host; None where nginx closes without an answer."""
    with (
        contextlib.suppress(ConnectionError, ssl.SSLError),
        socket.create_connection(("127.0.0.1", stack.port), _TIMEOUT_SECONDS) as plain,
        _context().wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(data)
        with connection.makefile("rb") as stream:
            return read_message(stream, head_only=data.startswith(b"HEAD "))
    return None


def render(target: str, host: str, headers: Iterable[tuple[str, str]] = (), method: str = "GET") -> bytes:
    """A request whose target and headers stand as they are, byte for byte (Latin-1)."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


@dataclass
class Visitor:
    """Somebody with the cookies of a login, or nobody, who writes requests by hand."""

    stack: Stack
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, host: str, target: str, headers: Iterable[tuple[str, str]] = (), *, method: str = "GET", name: str = ""
    ) -> Message | None:
        """`name` is the Host header where it differs from the TLS name."""
        cookie = [("Cookie", self.cookies[host])] if host in self.cookies else []
        return send(self.stack, host, render(target, name or host, [*headers, *cookie], method))

    def reaches(self, host: str, target: str, headers: Iterable[tuple[str, str]] = (), **options: str) -> str | None:
        """What the application saw as its path, or None if nothing reached it."""
        before = self.stack.application.count
        answer = self.ask(host, target, headers, **options)
        seen = self.stack.application.count - before
        if seen == 0:
            return None
        assert seen == 1, "one request, one at the application"
        assert answer is not None
        return self.stack.application.last.target


def seen_headers(answer: Message | None) -> list[tuple[str, str]]:
    """The headers that the application says it saw; fails where it was not the one that answered."""
    assert answer is not None
    assert answer.status == 200, (answer.status, answer.body[:300])
    report = json.loads(answer.body)
    assert report["application"] is True
    return [(name, value) for name, value in report["headers"]]
