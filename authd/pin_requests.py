"""What a browser holds while its person waits for a code by mail: to which address it goes, and half of the secret.

The other half is in the mail. The store keeps hashes of both together: neither who reads the mail nor who reads the
store can do anything without this very browser.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

from authd.cookies import find_cookie, find_cookies_by_prefix, render_cookie, render_expired_cookie
from authd.errors import SealError
from authd.sealing import Sealer

# How long a code is valid, from the moment that it was asked for.
CODE_SECONDS = 600
CODE_DIGITS, LONG_CODE_DIGITS = 6, 8
MAX_REQUESTS = 5
KNOWN_COOKIE = "__Host-authd_known"
KNOWN_SECONDS = 90 * 86400
_PREFIX = "__Host-authd_pin_"
_KIND, _KNOWN_KIND = "pin_request", "known_browser"


@dataclass(frozen=True, slots=True)
class PinRequest:
    """One code that was asked for. `id` is the code's in the store; `binding` never leaves cookie and hash.

    `expires_at` is in Unix seconds. That there is a request says nothing of whether a mail was sent.
    """

    id: str
    attempt_id: str
    email: str
    binding: str
    expires_at: int

    def hash_code(self, code: str) -> str:
        """What the store holds of a code: its HMAC-SHA256 under `binding`, 64 hex digits."""
        return self._hash(f"code\n{code}")

    def hash_key(self, key: str) -> str:
        """The same of the key in the mail's link."""
        return self._hash(f"key\n{key}")

    def _hash(self, text: str) -> str:
        return hmac.new(self.binding.encode(), text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class KnownBrowser:
    """A browser in which somebody has logged in by a code to `email` before. It grants nothing: codes that are asked
    for here are counted by its `id`, so that strangers cannot use them up."""

    id: str
    provider_id: str
    email: str
    expires_at: int


_Value = TypeVar("_Value", PinRequest, KnownBrowser)


class PinRequests:
    """Writes and reads the cookies: one for each attempt, and one that stays."""

    def __init__(self, sealer: Sealer, clock: Callable[[], float]) -> None:
        self._sealer = sealer
        self._clock = clock

    def render(self, request: PinRequest, cookie_header: str) -> list[str]:
        """The Set-Cookie values that keep this request, and those that drop the oldest others if there are too many."""
        sealed = self._sealer.seal_text(_KIND, request.attempt_id, json.dumps(asdict(request)).encode())
        name = f"{_PREFIX}{request.attempt_id}"
        kept = render_cookie(name, sealed, max_age_seconds=CODE_SECONDS, now=self._clock())
        # Ids of attempts begin with the time, so that names sort by age.
        others = sorted(set(find_cookies_by_prefix(cookie_header, _PREFIX)) - {name}, reverse=True)
        return [kept, *(render_expired_cookie(other) for other in others[MAX_REQUESTS - 1 :])]

    def find(self, attempt_id: str, cookie_header: str) -> PinRequest | None:
        """What this browser asked for in this attempt, if it is not too old."""
        return self._open(_KIND, attempt_id, find_cookie(cookie_header, f"{_PREFIX}{attempt_id}"), PinRequest)

    def render_known(self, browser: KnownBrowser) -> str:
        """The Set-Cookie value that tells this browser from strangers' for the next KNOWN_SECONDS."""
        sealed = self._sealer.seal_text(_KNOWN_KIND, "", json.dumps(asdict(browser)).encode())
        return render_cookie(KNOWN_COOKIE, sealed, max_age_seconds=KNOWN_SECONDS, now=self._clock())

    def find_known(self, provider_id: str, email: str, cookie_header: str) -> KnownBrowser | None:
        """This browser, if that address has logged in here, and nobody else by a code since."""
        found = self._open(_KNOWN_KIND, "", find_cookie(cookie_header, KNOWN_COOKIE), KnownBrowser)
        return found if found and (found.provider_id, found.email) == (provider_id, email) else None

    def _open(self, kind: str, id_: str, unverified_text: str | None, shape: type[_Value]) -> _Value | None:
        try:
            value = shape(**json.loads(self._sealer.open_text(kind, id_, unverified_text or "")))
        except (SealError, TypeError):
            # Not ours; or sealed by another version, with other fields.
            return None
        return value if value.expires_at > self._clock() else None

    def forget(self, attempt_id: str) -> str:
        """The Set-Cookie value that removes a request, once it is over."""
        return render_expired_cookie(f"{_PREFIX}{attempt_id}")


def find_code(unverified_text: str) -> str | None:
    """Six or eight ASCII digits from what somebody typed or pasted, without spaces and hyphens between them; else None.

    How many it has depends on what was asked for before; which is right shows by comparing it.
    """
    text = unicodedata.normalize("NFKC", unverified_text[:64])
    digits = "".join(character for character in text if character not in " -\t\r\n\u2010\u2013")
    return digits if len(digits) in (CODE_DIGITS, LONG_CODE_DIGITS) and digits.isascii() and digits.isdigit() else None
