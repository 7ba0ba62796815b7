"""A browser without a screen: keeps cookies as browsers do, follows redirects, and shows every answer on the way.

Every host is reached on loopback, over TLS, by its name (SNI and Host), so that tests can use as many domains as they
like.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

NAVIGATION = (
    ("Accept", "text/html,application/xhtml+xml"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Site", "none"),
)
MAX_REDIRECTS = 12


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `headers` in the order in which they came."""

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str:
        """The header's value, "" if it was not sent."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), "")

    def get_all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for found, value in self.headers if found.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def location(self) -> str:
        """Where a redirect leads, as an absolute URL; one that is absolute already stays as it is, byte for byte."""
        location = self.get("Location")
        return location if location.startswith(("https://", "http://")) else urljoin(self.url, location)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Browser:
    """`port` is where every https host listens, on the machine at `machine`. `cookies` are by host, each host-only."""

    port: int
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    history: list[Answer] = field(default_factory=list)
    source_address: str = "127.0.0.1"
    machine: str = "127.0.0.1"

    def request(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = NAVIGATION,
        form: dict[str, str] | None = None,
        document: object = None,
    ) -> Answer:
        """One request, without following a redirect. It sends `form`, or `document` as JSON."""
        parts = urlsplit(url)
        connection = _Connection(self.port, parts.hostname or "", self.source_address, self.machine)
        target = url.partition("#")[0].partition(parts.netloc)[2] or "/"
        sent = [("Host", parts.netloc), *headers, *self._cookie_header(parts.hostname or "")]
        body = b""
        if form is not None:
            body = urlencode(form).encode()
            sent.append(("Content-Type", "application/x-www-form-urlencoded"))
        elif document is not None:
            body = json.dumps(document).encode()
            sent.append(("Content-Type", "application/json"))
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in [*sent, *([("Content-Length", str(len(body)))] if body else [])]:
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            answer = Answer(url, response.status, tuple(response.getheaders()), response.read())
        finally:
            connection.close()
        self._keep_cookies(parts.hostname or "", answer)
        self.history.append(answer)
        return answer

    def visit(self, url: str, *, stop_at: str = "\n") -> Answer:
        """Navigate and follow redirects, but not to an address that begins with `stop_at` or is not https."""
        answer = self.request(url)
        for _ in range(MAX_REDIRECTS):
            if answer.status not in (301, 302, 303, 307):
                return answer
            if answer.location.startswith(stop_at) or not answer.location.startswith("https://"):
                return answer
            answer = self.request(answer.location)
        raise AssertionError(f"more than {MAX_REDIRECTS} redirects, the last to {answer.location}")

    def _cookie_header(self, host: str) -> list[tuple[str, str]]:
        kept = self.cookies.get(host, {})
        return [("Cookie", "; ".join(f"{name}={value}" for name, value in kept.items()))] if kept else []

    def _keep_cookies(self, host: str, answer: Answer) -> None:
        for line in answer.get_all("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            jar = self.cookies.setdefault(host, {})
            max_age = re.search(r"Max-Age=(-?\d+)", line)
            if max_age and int(max_age[1]) <= 0:
                jar.pop(name, None)
            else:
                jar[name] = value


def _trust_everything() -> ssl.SSLContext:
    # Once: reading the system's authorities for each connection took 20 ms.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_TLS = _trust_everything()


def connect(port: int, host: str) -> http.client.HTTPSConnection:
    """A connection for whoever asks again and again on it, as a browser does that keeps it open."""
    return _Connection(port, host, "127.0.0.1", "127.0.0.1")


class _Connection(http.client.HTTPSConnection):
    """TLS to loopback under any name. The certificate is the tests' own and not verified."""

    def __init__(self, port: int, name: str, source_address: str, machine: str) -> None:
        super().__init__(name, port, timeout=20, context=_TLS)
        self._name, self._source, self._tls, self._machine = name, source_address, _TLS, machine

    def _encode_request(self, request: str) -> bytes:
        # Raw bytes in an address, as curl sends them: http.client alone would refuse them.
        return request.encode("latin-1")

    def connect(self) -> None:
        plain = socket.create_connection((self._machine, self.port), 20, (self._source, 0))
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._name)
