"""Logins are rate limited: by address, so that nobody floods the provider through us, and by person. So are codes by
mail, and by what they would cost others, and logout tokens that are not good.

An IPv6 address counts as its /64, since one household or machine has all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from math import ceil

from authd.config.onetimepin import CodeRateLimit
from authd.errors import LoginLimitError
from authd.pin_requests import CODE_DIGITS, LONG_CODE_DIGITS
from authd.state.base import Store

_HOUR_SECONDS, _DAY_SECONDS = 3600, 86400
_TRIES_SECONDS = 3600
# What strangers ask for beyond that in a day has two digits more, so that many networks are not many guesses.
_SHORT_CODES = 20
MAX_CLOSED = 10_000


class LoginLimits:
    """Counts logins in the store, over all workers. The limits may change with a reload: they are asked each time."""

    def __init__(self, store: Store, *, limits: Callable[[], tuple[int, int, int]], clock: Callable[[], float]) -> None:
        """`limits` gives logins per address, logins per person, and the window in seconds."""
        self._store = store
        self._limits = limits
        self._clock = clock

    async def count_address(self, address: IPv4Address | IPv6Address) -> None:
        """Count one login from this address. Raises LoginLimitError if there were too many, StoreError."""
        per_address, _, window_seconds = self._limits()
        await self._count("login_address", network_of(address), per_address, window_seconds)

    async def count_person(self, subject: str) -> None:
        """Count one login of this person. Raises LoginLimitError if there were too many, StoreError."""
        _, per_person, window_seconds = self._limits()
        await self._count("login_person", subject, per_person, window_seconds)

    async def _count(self, kind: str, id_: str, limit: int, window_seconds: int) -> None:
        count = await self._store.count(kind, id_, now=int(self._clock()), window_seconds=window_seconds)
        if count > limit:
            raise LoginLimitError(kind, window_seconds)


class LogoutLimits:
    """Counts logout tokens that claim to be a provider's of ours and are not good: each costs a look for its key, and
    the time of a signature.

    Good ones are never counted: a provider may log ten thousand people out in a minute. Nonsense that claims nothing
    costs nothing, and may come from an address that a provider of many customers has as well.
    """

    def __init__(self, store: Store, *, limits: Callable[[], tuple[int, int, int]], clock: Callable[[], float]) -> None:
        """`limits` as in `LoginLimits`: the first and the last of them count."""
        self._store = store
        self._limits = limits
        self._clock = clock
        self._closed: dict[str, float] = {}

    def check(self, address: IPv4Address | IPv6Address) -> None:
        """Raises LoginLimitError if too many came from this address, as far as this worker has heard."""
        seconds = self._closed.get(network_of(address), 0.0) - self._clock()
        if seconds > 0:
            raise LoginLimitError("logout_token", ceil(seconds))

    async def count_refused(self, address: IPv4Address | IPv6Address) -> None:
        """Count one that was not good. Raises StoreError."""
        per_address, _, window_seconds = self._limits()
        network, now = network_of(address), self._clock()
        if await self._store.count("logout_token", network, now=int(now), window_seconds=window_seconds) >= per_address:
            if len(self._closed) >= MAX_CLOSED:
                del self._closed[next(iter(self._closed))]
            self._closed[network] = now + window_seconds


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a mail may go out: `exceeded` is the limit that forbids it. `digits` is how long its code is."""

    exceeded: str | None = None
    digits: int = CODE_DIGITS


class CodeLimits:
    """Counts codes by mail in the store, over all workers. Rows of counters are bounded too: by the networks that ask,
    and by the mails that go out."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def count_asking(self, address: IPv4Address | IPv6Address, limits: CodeRateLimit) -> None:
        """Count one that asks for a code, whatever for. Raises LoginLimitError, StoreError."""
        for kind, id_, limit in (
            ("code_address", network_of(address), limits.per_address),
            ("code_network", wide_network_of(address), limits.per_network),
        ):
            if await self._count(kind, id_, limits.window_seconds) > limit:
                raise LoginLimitError(kind, limits.window_seconds)

    async def count_mail(
        self, subject: str, provider_id: str, limits: CodeRateLimit, *, network: str, own_place: str | None = None
    ) -> Allowance:
        """Count one mail to this person, asked for in `network`. Raises StoreError.

        The first that forbids is the last that counts: who is told to wait does not use up the day. Each network has
        counts of its own, so that none can use up another's, and all together are held to what a mailbox bears in an
        hour. `own_place` names a browser or a network in which the person has logged in before: there, neither a
        flood nor strangers lock them out.
        """
        who = f"{subject} {own_place or network}"
        counts = [
            ("code_email", who, limits.per_email, limits.window_seconds),
            ("code_email_day", who, limits.per_email_and_day, _DAY_SECONDS),
        ]
        if own_place is None:
            counts.insert(0, ("code_in_all", provider_id, limits.in_all, limits.window_seconds))
            counts.append(("code_email_hour", subject, limits.per_email_and_hour, _HOUR_SECONDS))
        for kind, id_, limit, seconds in counts:
            if await self._count(kind, id_, seconds) > limit:
                return Allowance(kind)
        if own_place is None and await self._count("code_strangers", subject, _DAY_SECONDS) > _SHORT_CODES:
            return Allowance(digits=LONG_CODE_DIGITS)
        return Allowance()

    async def count_try(self, pin_id: str) -> int:
        """Count one try to type a code and return how many there were. The window outlives every code."""
        return await self._count("code_try", pin_id, _TRIES_SECONDS)

    async def _count(self, kind: str, id_: str, window_seconds: int) -> int:
        return await self._store.count(kind, id_, now=int(self._clock()), window_seconds=window_seconds)


def network_of(address: IPv4Address | IPv6Address, ipv4_bits: int = 32, ipv6_bits: int = 64) -> str:
    """What counts as one address."""
    return str(ip_network((address, ipv6_bits if address.version == 6 else ipv4_bits), strict=False))


def wide_network_of(address: IPv4Address | IPv6Address) -> str:
    """What one owner often has: a /24, or a /48 of IPv6."""
    return network_of(address, 24, 48)
