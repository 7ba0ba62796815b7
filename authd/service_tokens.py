"""Service tokens: an id and a secret with which a machine gets in, without a login and without a cookie.

Only strict mode exists (reference/access-wire.md 2.3): who brings credentials is judged by them alone. What was
verified is remembered by the worker until the operator changes it or it ends, so that a request reads no store. Wrong
secrets are counted for each address: an outsider's guesses lock nobody else out, and cost no write.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from authd.errors import StoreUnavailableError, TokenError
from authd.limits import network_of
from authd.model import SERVICE_TOKENS, Machine, Reason
from authd.state.service_token_rows import ServiceTokenRows

NOTE_SECONDS = 60
MAX_REMEMBERED = 10_000
MOST_WRONG = 30
_WINDOW_SECONDS = 60
_MAX_SECRET_CHARACTERS = 256
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\.access")


@dataclass(frozen=True, slots=True)
class VerifiedServiceToken:
    """A service token whose secret was right. `expires_at` (Unix seconds) is when this secret ends."""

    client_id: str
    expires_at: int
    version: int


class ServiceTokens:
    """The service tokens as one worker sees them. Give `follow` every tombstone of theirs, and call `flush` now and
    then."""

    def __init__(
        self, rows: ServiceTokenRows, *, clock: Callable[[], float], is_in_touch: Callable[[], bool] = lambda: True
    ) -> None:
        """`is_in_touch` says whether the store was heard of lately enough to go by what is remembered."""
        self._rows = rows
        self._clock = clock
        self._is_in_touch = is_in_touch
        self._verified: dict[tuple[str, bytes], VerifiedServiceToken] = {}
        self._versions: dict[str, int] = {}
        self._used: set[str] = set()
        self._noted: dict[str, float] = {}
        self._wrong: dict[str, tuple[float, int]] = {}

    async def verify(
        self, unverified_id: str, unverified_secret: str, address: IPv4Address | IPv6Address
    ) -> VerifiedServiceToken:
        """Raises TokenError whose code is one of Reason's service token reasons, StoreError if nobody can say."""
        if not _CLIENT_ID.fullmatch(unverified_id) or not 0 < len(unverified_secret) <= _MAX_SECRET_CHARACTERS:
            raise TokenError(Reason.SERVICE_TOKEN_MALFORMED, "the id or the secret is missing, doubled or malformed")
        key = unverified_id, hashlib.sha256(unverified_secret.encode()).digest()
        verified = self._verified.get(key)
        if verified is not None and self.still_holds(verified):
            return verified
        self._check_limit(address)
        verified = await self._look_up(unverified_id, unverified_secret, address)
        if len(self._verified) >= MAX_REMEMBERED:
            self._verified.pop(next(iter(self._verified)))
        self._verified[key] = verified
        self._used.add(unverified_id)
        return verified

    def still_holds(self, verified: VerifiedServiceToken) -> bool:
        """Whether it would be verified again, which is a use of it. Asks nobody. Raises StoreUnavailableError after too
        long an outage."""
        if not self._is_in_touch():
            raise StoreUnavailableError("the store has been unreachable for longer than store_outage_grace")
        is_current = self._versions.get(verified.client_id, 0) == verified.version
        if not is_current or verified.expires_at <= self._clock():
            return False
        self._used.add(verified.client_id)
        return True

    def follow(self, client_id: str) -> None:
        """An operator has changed this token: look again."""
        self._versions[client_id] = self._versions.get(client_id, 0) + 1

    async def flush(self) -> None:
        """Note which tokens were used, at most once a minute each. Raises StoreError; what is due stays due."""
        now = self._clock()
        for client_id in [id_ for id_ in self._used if now - self._noted.get(id_, 0.0) >= NOTE_SECONDS]:
            noted = await self._rows.note_use(client_id, now=int(now), at_least_seconds=NOTE_SECONDS)
            # What is no time is an error here, and not one round after the other.
            self._noted[client_id] = max(noted, 0)
            self._used.discard(client_id)

    async def _look_up(
        self, client_id: str, unverified_secret: str, address: IPv4Address | IPv6Address
    ) -> VerifiedServiceToken:
        version = self._versions.get(client_id, 0)
        now = int(self._clock())
        token = await self._rows.find(client_id, now=now)
        # An unknown id costs what a known one does.
        expires_at = self._rows.match_secret(token, unverified_secret, now=now)
        if token is None or expires_at is None:
            self._count_wrong(address)
            raise TokenError(Reason.SERVICE_TOKEN_INVALID, "no service token has this id and secret")
        if not token.is_enabled:
            raise TokenError(Reason.SERVICE_TOKEN_DISABLED, "the service token is disabled")
        if expires_at <= now:
            raise TokenError(Reason.SERVICE_TOKEN_EXPIRED, "the service token, or its previous secret, has expired")
        return VerifiedServiceToken(client_id, expires_at, version)

    def _check_limit(self, address: IPv4Address | IPv6Address) -> None:
        began_at, count = self._wrong.get(network_of(address), (0.0, 0))
        if count >= MOST_WRONG and self._clock() - began_at < _WINDOW_SECONDS:
            raise TokenError(Reason.SERVICE_TOKEN_LIMITED, "too many wrong secrets came from this address")

    def _count_wrong(self, address: IPv4Address | IPv6Address) -> None:
        network, now = network_of(address), self._clock()
        began_at, count = self._wrong.pop(network, (now, 0))
        if now - began_at >= _WINDOW_SECONDS:
            began_at, count = now, 0
        if len(self._wrong) >= MAX_REMEMBERED:
            self._wrong.pop(next(iter(self._wrong)))
        self._wrong[network] = began_at, count + 1


def machine_of(client_id: str) -> Machine:
    """Who a service token is, to policies and to the application."""
    return Machine(SERVICE_TOKENS, client_id)
