"""Logins are rate limited: by address, so that nobody floods the provider through us, and by person.

An IPv6 address counts as its /64, since one household or machine has all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from authd.errors import LoginLimitError
from authd.state.base import Store


def network_of(address: IPv4Address | IPv6Address) -> IPv4Network | IPv6Network:
    """What counts as one address."""
    return ip_network((address, 64 if address.version == 6 else 32), strict=False)


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
        await self._count("login_address", str(network_of(address)), per_address, window_seconds)

    async def count_person(self, subject: str) -> None:
        """Count one login of this person. Raises LoginLimitError if there were too many, StoreError."""
        _, per_person, window_seconds = self._limits()
        await self._count("login_person", subject, per_person, window_seconds)

    async def _count(self, kind: str, id_: str, limit: int, window_seconds: int) -> None:
        count = await self._store.count(kind, id_, now=int(self._clock()), window_seconds=window_seconds)
        if count > limit:
            raise LoginLimitError(kind, window_seconds)
