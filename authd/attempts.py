"""What a browser holds for us while somebody logs in. An anonymous visitor writes nothing to the store.

    AppSession    cookie on the application's host: names the browser, and counts hand-overs in a row (login loops)
    Meta          parameter of the login address: what the application's host knows, for the team host
    Attempt       cookie on the team host, one for each attempt: what must come back from the identity provider

Meta and Attempt are sealed: nobody but us can write or read them. An AppSession is only a name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

from authd.cookies import find_cookie, find_cookies_by_prefix, render_cookie, render_expired_cookie
from authd.errors import SealError
from authd.sealing import Sealer

APP_SESSION_COOKIE = "__Host-CF_AppSession"
APP_SESSION_SECONDS = 86400
ATTEMPT_SECONDS = 600
META_SECONDS = 300
# Hand-overs further apart than this are no loop.
ROUND_SECONDS = 60

_ATTEMPT_PREFIX = "__Host-authd_attempt_"
_META, _ATTEMPT, _PATH = "meta", "attempt", "path"
# A cookie holds 4096 bytes with its name and attributes; a 4 kB return path does not fit into one.
_CHUNK = 3600
# All attempts of a browser together, so that its Cookie header stays within nginx' and gunicorn's limits.
MAX_ATTEMPTS_BYTES = 14_000
MAX_STATE_PATH_BYTES = 5_000
_APP_SESSION = re.compile(r"([A-Za-z0-9_-]{22})\.(\d{1,3})\.(\d{1,12})\.([0-9a-f]{8}|)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class AppSession:
    """A browser on an application's host. `round` hand-overs in a row ended at `round_at` (Unix seconds).

    They count for one application, named by eight digits of its AUD: a host may have many, each with its own login.
    """

    name: str
    round: int = 0
    round_at: int = 0
    application_tag: str = ""

    @property
    def hash(self) -> str:
        """What others may know of the name: its SHA-256, 64 hex digits."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def rounds(self, aud: str, now: float) -> int:
        """How many hand-overs in a row to this application have just happened."""
        is_recent = 0 <= now - self.round_at <= ROUND_SECONDS
        return self.round if is_recent and self.application_tag == aud[:8] else 0

    def render(self, now: float) -> str:
        """The Set-Cookie value."""
        value = f"{self.name}.{self.round}.{self.round_at}.{self.application_tag}"
        return render_cookie(APP_SESSION_COOKIE, value, max_age_seconds=APP_SESSION_SECONDS, now=now)


def find_app_session(cookie_header: str) -> AppSession | None:
    """The browser's name on this host, or None if it brought none (or nonsense)."""
    match = _APP_SESSION.match(find_cookie(cookie_header, APP_SESSION_COOKIE) or "")
    return AppSession(match[1], int(match[2]), int(match[3]), match[4]) if match else None


@dataclass(frozen=True, slots=True)
class Meta:
    """What the application's host tells the team host: for whom, to where, and that nobody changed it on the way."""

    application_id: str
    host: str
    return_path_hash: str
    app_session_hash: str
    round: int
    prompt: str | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to log in, as it must come back from the identity provider. Times are Unix seconds."""

    id: str
    state: str
    nonce: str
    code_verifier: str
    provider_id: str
    application_id: str
    host: str
    return_path: str
    app_session_hash: str
    round: int
    expires_at: int
    began_at: int = 0


_Value = TypeVar("_Value", Meta, Attempt)


def hash_path(return_path: str) -> str:
    """SHA-256 of a return path, 64 hex digits."""
    return hashlib.sha256(return_path.encode()).hexdigest()


class Attempts:
    """Writes and reads what the browser holds."""

    def __init__(self, sealer: Sealer, clock: Callable[[], float]) -> None:
        self._sealer = sealer
        self._clock = clock

    def render_meta(self, meta: Meta) -> str:
        """The sealed parameter."""
        return self._sealer.seal_text(_META, meta.host, json.dumps(asdict(meta)).encode())

    def find_meta(self, unverified_text: str, host: str) -> Meta | None:
        """The parameter if it is ours, for this host, and not too old."""
        return self._open(_META, host, unverified_text, Meta)

    def render_path(self, return_path: str, host: str) -> str:
        """The sealed `state` that goes with a one-time code: where to start again when the code was spent before.

        A path that would swell it beyond what nginx takes as a request line (8 kB by default) is left to the code.
        """
        kept = return_path if len(return_path) <= MAX_STATE_PATH_BYTES else "/"
        return self._sealer.seal_text(_PATH, host, kept.encode())

    def find_path(self, unverified_text: str, host: str) -> str | None:
        """What `render_path` sealed for this host. It grants nothing and does not age."""
        try:
            return self._sealer.open_text(_PATH, host, unverified_text).decode()
        except SealError:
            return None

    def render_attempt(self, attempt: Attempt, cookie_header: str) -> list[str]:
        """The Set-Cookie values that keep this attempt, and those that drop the oldest others if there are too many."""
        sealed = self._sealer.seal_text(_ATTEMPT, attempt.id, json.dumps(asdict(attempt)).encode())
        chunks = [sealed[start : start + _CHUNK] for start in range(0, len(sealed), _CHUNK)]
        now = self._clock()
        seconds = attempt.expires_at - int(now)
        kept = [
            render_cookie(f"{_ATTEMPT_PREFIX}{attempt.id}_{n}", chunk, max_age_seconds=seconds, now=now)
            for n, chunk in enumerate(chunks)
        ]
        return kept + _drop_oldest(cookie_header, MAX_ATTEMPTS_BYTES - len(sealed), kept_id=attempt.id)

    def find_attempt(self, unverified_state: str, cookie_header: str) -> Attempt | None:
        """The attempt that this state belongs to, if this browser began it and it is not too old.

        Not checked: that `state` itself is the attempt's; the caller compares, in constant time.
        """
        id_ = unverified_state.partition(".")[0]
        prefix = f"{_ATTEMPT_PREFIX}{id_}_"
        chunks = find_cookies_by_prefix(cookie_header, prefix) if id_ else {}
        sealed = "".join(chunks.get(f"{prefix}{n}", "") for n in range(len(chunks)))
        return self._open(_ATTEMPT, id_, sealed, Attempt)

    def _open(self, kind: str, id_: str, unverified_text: str, shape: type[_Value]) -> _Value | None:
        try:
            value = shape(**json.loads(self._sealer.open_text(kind, id_, unverified_text)))
        except (SealError, TypeError):
            # Not ours; or sealed by another version, with other fields: then the login starts over.
            return None
        return value if value.expires_at > self._clock() else None


def forget_attempt(attempt_id: str, cookie_header: str) -> list[str]:
    """The Set-Cookie values that remove an attempt, once it is over."""
    chunks = find_cookies_by_prefix(cookie_header, f"{_ATTEMPT_PREFIX}{attempt_id}_")
    return [render_expired_cookie(name) for name in chunks]


def _drop_oldest(cookie_header: str, budget_bytes: int, *, kept_id: str) -> list[str]:
    """Ids begin with the time, so that names sort by age. The youngest attempts within the budget stay.

    What the browser holds of `kept_id` itself is about to be replaced.
    """
    dropped: list[str] = []
    for name, value in sorted(find_cookies_by_prefix(cookie_header, _ATTEMPT_PREFIX).items(), reverse=True):
        if name.startswith(f"{_ATTEMPT_PREFIX}{kept_id}_"):
            continue
        budget_bytes -= len(name) + len(value)
        if budget_bytes < 0:
            dropped.append(render_expired_cookie(name))
    return dropped
