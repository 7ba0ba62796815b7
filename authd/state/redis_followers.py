"""How many replicas follow the master, as it says itself. One that has left may be the next master."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

# A server that Sentinel promotes leaves its master first, and is named by Sentinel about a second later. What the old
# master is given in between is lost, though another replica that still follows it acknowledges it.
SETTLING_SECONDS = 3.0


class Followers:
    """Of one master, from when it was found."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._count = 0
        self._left_at = -inf

    def note(self, role: Any) -> None:
        """Take in what the master answers to `ROLE`: itself, an offset, and a list of the replicas that are online."""
        count = len(role[2]) if isinstance(role, list) and len(role) > 2 and isinstance(role[2], list) else 0
        if count < self._count:
            self._left_at = self._monotonic()
        self._count = count

    @property
    def has_one_just_left(self) -> bool:
        """Whether another server may be taking over, of which nobody has been told yet."""
        return self._monotonic() - self._left_at < SETTLING_SECONDS

    def are_fewer_than(self, count: int) -> bool:
        """Whether writes lack replicas: those of a master that was replaced follow the new one."""
        return self._count < count
