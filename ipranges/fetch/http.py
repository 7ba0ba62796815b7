"""One document over HTTP: status 200 or 304 exactly, no HTML, no other host, no downgrade."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3

from ipranges import __version__
from ipranges.errors import FetchError
from ipranges.fetch.body import read_body
from ipranges.fetch.deadline import Deadline, run_within
from ipranges.model import Validators

USER_AGENT = f"ipranges/{__version__}"
MAX_REDIRECTS = 3
READ_TIMEOUT_SECONDS = 20
_RETRIED_STATUS = (429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How long and how much. `backoff_seconds` doubles after each retry."""

    deadline_seconds: float = 60
    max_bytes: int = 16 * 1024 * 1024
    retries: int = 3
    backoff_seconds: float = 1.0
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. `body` is None for a 304: what the validators belong to still holds."""

    body: bytes | None
    etag: str = ""
    last_modified: str = ""


class _RetryLaterError(FetchError):
    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


class Fetcher:
    """Fetches documents within one deadline. `sleep` is handed in so that tests need not wait."""

    def __init__(self, limits: HttpLimits, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._limits = limits
        self._deadline = Deadline(limits.deadline_seconds)
        self._sleep = sleep

    def fetch(self, url: str, *, accept: str, validators: Validators | None = None) -> Fetched:
        """The document; raises FetchError that names the URL and what was wrong with the answer."""
        wait = self._limits.backoff_seconds
        for left in range(self._limits.retries, -1, -1):
            try:
                return run_within(self._deadline, lambda: self._fetch_once(url, accept, validators))
            except _RetryLaterError as error:
                pause = wait if error.wait_seconds is None else error.wait_seconds
                if left == 0 or pause >= self._deadline.remaining_seconds:
                    raise FetchError(f"{url}: {error}") from None
                self._sleep(pause)
                wait *= 2
            except FetchError as error:
                raise FetchError(f"{url}: {error}") from None
        raise AssertionError("the loop returns or raises")

    def _fetch_once(self, url: str, accept: str, validators: Validators | None) -> Fetched:
        try:
            return self._follow(url, _build_headers(accept, validators))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _RetryLaterError(_explain(error)) from None
        except ValueError:
            # requests reads a redirect's address before we do, and some addresses are none.
            raise FetchError("a redirect that leads nowhere") from None
        except zlib.error:
            raise FetchError("the compressed body is damaged") from None

    def _follow(self, url: str, headers: dict[str, str]) -> Fetched:
        with requests.Session() as session:
            # Credentials from ~/.netrc would go out with trust_env; only the proxies are wanted.
            session.trust_env = False
            for _ in range(MAX_REDIRECTS + 1):
                with self._get(session, url, headers) as response:
                    if response.status_code not in (301, 302, 303, 307, 308):
                        return self._accept(response, "If-None-Match" in headers or "If-Modified-Since" in headers)
                    url = _verify_redirect(url, response.headers.get("Location", ""))
        raise FetchError(f"more than {MAX_REDIRECTS} redirects")

    def _get(self, session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
        timeout = min(READ_TIMEOUT_SECONDS, max(self._deadline.remaining_seconds, 0.1))
        return session.get(
            url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=timeout,
            verify=self._limits.ca_file or True,
            proxies=dict(requests.utils.get_environ_proxies(url)),
        )

    def _accept(self, response: requests.Response, is_conditional: bool) -> Fetched:
        status = response.status_code
        if status == 304 and is_conditional:
            return Fetched(None)
        if status in _RETRIED_STATUS:
            wait = _read_retry_after(response.headers.get("Retry-After", ""))
            raise _RetryLaterError(f"status {status}", wait)
        if status != 200:
            raise FetchError(f"status {status}")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise FetchError(f"the answer is a web page ({kind}), not a list")
        body = read_body(
            response.raw,
            encoding=response.headers.get("Content-Encoding", ""),
            max_bytes=self._limits.max_bytes,
            deadline=self._deadline,
        )
        return Fetched(body, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))


def _build_headers(accept: str, validators: Validators | None) -> dict[str, str]:
    headers = {"User-Agent": USER_AGENT, "Accept": accept, "Accept-Encoding": "gzip"}
    if validators and validators.etag:
        headers["If-None-Match"] = validators.etag
    if validators and validators.last_modified:
        headers["If-Modified-Since"] = validators.last_modified
    return headers


def _read_retry_after(value: str) -> float | None:
    # The other form, a date, asks for longer than we wait in one run anyway: the next run comes in hours.
    return float(value) if value.isascii() and value.isdigit() and len(value) < 8 else None


def _verify_redirect(url: str, location: str) -> str:
    """Where a redirect leads, if it stays on the same host and does not leave TLS; raises FetchError."""
    try:
        before, after = urlsplit(url), urlsplit(urljoin(url, location))
        same_host = before.hostname == after.hostname
        same_port = _port(before) == _port(after)
    except ValueError:
        raise FetchError("a redirect that leads nowhere") from None
    if not location or after.scheme not in ("http", "https"):
        raise FetchError("a redirect that leads nowhere")
    if before.scheme == "https" and after.scheme == "http":
        raise FetchError(f"a redirect from https to http ({location[:80]!a})")
    upgraded = before.scheme == "http" and after.scheme == "https"
    if not same_host or not (same_port or upgraded):
        raise FetchError(f"a redirect to another host ({location[:80]!a})")
    return after.geturl()


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _explain(error: Exception) -> str:
    """One sentence without the machinery's object names."""
    cause: Any = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed: {str(cause)[:120]}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.IncompleteRead) or "IncompleteRead" in str(error):
        return "the body is shorter than announced"
    return f"no answer ({type(cause).__name__}: {str(cause)[:120]})"
