"""Calls to one identity provider: in threads of their own, and over when the time is up.

A timeout of `requests` counts from one byte to the next, so a server that sends a byte every four
seconds holds a thread for ever. Here the whole call has one deadline; when it has passed, the
connection is cut under the thread, which ends with it. Each provider has its own few threads, so
a slow one delays nobody but its own logins.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from authd import __version__
from authd.errors import ProviderLiedError, ProviderUnavailableError
from authd.open_sockets import OpenSockets

# nginx waits longer than this for authd, and a person hardly does.
DEADLINE_SECONDS = 5.0
# A provider that answers in 100 ms serves some 50 logins a second through them.
THREADS = 16
# Tokens have a minute of leeway.
MOST_CLOCK_DIFFERENCE_SECONDS = 30
_CHUNK_BYTES = 64 * 1024

_Result = TypeVar("_Result")
_Session = TypeVar("_Session", bound=requests.Session)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer within its bounds. `content_type` is lower case, without parameters; `sent_at` is the server's
    own clock in Unix seconds, None where it does not tell. `headers` are by name in lower case.
    """

    status: int
    content_type: str
    body: bytes
    sent_at: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def clock_difference_seconds(self, now: float) -> int:
        """By how much the server's clock is ahead of ours, 0 if that is not worth a word (attacks.md F17)."""
        difference = round(self.sent_at - now) if self.sent_at is not None else 0
        return difference if abs(difference) > MOST_CLOCK_DIFFERENCE_SECONDS else 0


class ProviderHttp:
    """The way to one provider. No redirects, no proxies or `.netrc` from the environment, no cookies.

    Certificates are checked against the system's authorities (OpenSSL's defaults), which is where
    an operator installs the one of their own company, and not against those that `requests` carries. `authorities`, in
    PEM, take the place of the system's.
    """

    def __init__(
        self, provider_id: str, *, deadline_seconds: float = DEADLINE_SECONDS, authorities: str | None = None
    ) -> None:
        self._provider_id = provider_id
        self._deadline_seconds = deadline_seconds
        self._is_closed = False
        self._tls: ssl.SSLContext | None = None
        self._make_tls = functools.partial(ssl.create_default_context, cadata=authorities)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"idp-{provider_id}")

    async def get(
        self,
        what: str,
        url: str,
        *,
        max_bytes: int,
        bearer: str | None = None,
        statuses: frozenset[int] = frozenset({200}),
    ) -> Answer:
        """GET a document; `what` names it in errors.

        Raises ProviderUnavailableError if it does not arrive in time, or with 429 or 5xx;
        ProviderLiedError if it is not a plain answer of one of `statuses` and at most `max_bytes`.
        """
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})

        def fetch(call: Call) -> Answer:
            with call.open(requests.Session()) as session:
                response = session.get(url, headers=headers, stream=True, allow_redirects=False)
                return call.read(response, max_bytes=max_bytes, statuses=statuses)

        return await self.run(what, fetch)

    async def run(self, what: str, work: Callable[[Call], _Result]) -> _Result:
        """Run `work` in a thread and give it the deadline; errors as for `get`."""
        if self._is_closed:
            # A reload has replaced this provider in the middle of somebody's login.
            raise ProviderUnavailableError(self._provider_id, "closed", "its settings were just replaced")
        sockets = OpenSockets()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                # Reading the system's authorities takes a tenth of a second: not when a worker starts, nor in its loop.
                if self._tls is None:
                    self._tls = await loop.run_in_executor(self._threads, self._make_tls)
                call = Call(self._provider_id, what, _Adapter(sockets, self._tls, self._deadline_seconds))
                return await loop.run_in_executor(self._threads, work, call)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._explain(what, error) from error
        finally:
            # Also when the visitor has gone: the thread must not stay behind.
            sockets.cut()

    def close(self) -> None:
        """Take no more calls. Those under way end as they would have."""
        self._is_closed = True
        self._threads.shutdown(wait=False)

    def _explain(self, what: str, error: Exception) -> ProviderUnavailableError:
        if isinstance(error, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError):
            sentence = f"the {what} did not arrive within {self._deadline_seconds:g} seconds"
            return ProviderUnavailableError(self._provider_id, "timeout", sentence)
        if isinstance(error, requests.exceptions.SSLError):
            sentence = f"no trusted TLS connection for the {what}; is its authority among the system's?"
            return ProviderUnavailableError(self._provider_id, "tls", sentence)
        sentence = f"the {what} cannot be fetched, the connection fails"
        return ProviderUnavailableError(self._provider_id, "unreachable", sentence)


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as the function sees it that runs in the thread."""

    provider_id: str
    what: str
    adapter: HTTPAdapter

    def open(self, session: _Session) -> _Session:
        """Bind a fresh session to this call's deadline. It must be used with `stream=True`."""
        session.trust_env = False
        session.headers["Accept-Encoding"] = "identity"
        # Edges turn away what calls itself a library.
        session.headers["User-Agent"] = f"authd/{__version__}"
        session.mount("https://", self.adapter)
        session.mount("http://", self.adapter)
        return session

    def read(self, response: requests.Response, *, max_bytes: int, statuses: frozenset[int]) -> Answer:
        """Read the body up to `max_bytes` and close; errors as for `ProviderHttp.get`."""
        with response:
            self._check(response, statuses)
            body = self._read_body(response, max_bytes)
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, content_type, body, _parse_date(headers.get("date", "")), headers)

    def lied(self, cause: str, sentence: str) -> ProviderLiedError:
        """The error for an answer that is not as it must be."""
        return ProviderLiedError(self.provider_id, cause, f"the {self.what} {sentence}")

    def _check(self, response: requests.Response, statuses: frozenset[int]) -> None:
        if response.status_code == 429 or response.status_code >= 500:
            raise ProviderUnavailableError(
                self.provider_id, "http_status", f"the {self.what} came with HTTP {response.status_code}"
            )
        if response.status_code not in statuses:
            # Redirects too: whoever can make the provider redirect would choose whom we believe.
            raise self.lied("http_status", f"came with HTTP {response.status_code}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self.lied("compressed", "came compressed, which nobody asked for")

    def _read_body(self, response: requests.Response, max_bytes: int) -> bytes:
        body = bytearray()
        while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > max_bytes:
                raise self.lied("too_large", f"is larger than {max_bytes} bytes")
        return bytes(body)


def _parse_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


class _HeldMixin:
    """A connection that hands its socket over as soon as there is one, before TLS begins."""

    def __init__(self, *args: Any, sockets: OpenSockets, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open_sockets = sockets

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._open_sockets.hold(connected)
        return connected


class _HeldHttpConnection(_HeldMixin, HTTPConnection):
    pass


class _HeldHttpsConnection(_HeldMixin, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    def __init__(self, sockets: OpenSockets, tls: ssl.SSLContext, deadline_seconds: float) -> None:
        self._sockets = sockets
        self._tls = tls
        self._deadline_seconds = deadline_seconds
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context verifies. The inherited method would add the certificates of `requests` to it."""

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(request, *args, **kwargs)
        kind = _HeldHttpsConnection if pool.scheme == "https" else _HeldHttpConnection
        pool.ConnectionCls = functools.partial(kind, sockets=self._sockets)  # type: ignore[attr-defined]
        return pool

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = self._deadline_seconds
        response = super().send(request, *args, **kwargs)
        if response.is_redirect:
            # Session.send() would read the whole body of a redirect that it is told not to follow.
            del response.headers["Location"]
        return response
