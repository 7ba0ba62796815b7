"""What every store promises. Values are opaque bytes here; `records` seals them and gives them their types.

One suite (tests/contract) runs over every store. Times are whole Unix seconds and come from the caller.
No call takes longer than DEADLINE_SECONDS: it raises StoreUnavailableError instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

DEADLINE_SECONDS = 0.2
MOST_OWNED = 500


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Something has ended: of a kind, such as `session`, by its id. `sequence` grows with every tombstone written."""

    sequence: int
    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A living value, as it moves to another store."""

    kind: str
    id: str
    value: bytes
    expires_at: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class StoredEnd:
    """A tombstone that is still needed, as it moves to another store, which gives it a sequence of its own."""

    kind: str
    id: str
    remembered_until: int


class Store(Protocol):
    """A place for values that end, things that are spent once, counters, and revocations.

    Raises StoreUnavailableError if it does not answer in time, StoreDamagedError if it answers nonsense.
    """

    async def check(self) -> list[str]:
        """What the operator should change, in sentences. Raises StoreUnfitError if the store must not be used."""

    async def put(self, kind: str, id_: str, value: bytes, *, expires_at: int, owner: str = "") -> None:
        """Write or replace a value that is gone from `expires_at` on. An `owner`, one word, makes it findable by it.

        The owner of a value never changes.
        """

    async def put_if_absent(self, kind: str, id_: str, value: bytes, *, now: int, expires_at: int) -> bool:
        """Write unless a living value is there. True for exactly one of all who try at once."""

    async def replace(
        self, kind: str, id_: str, old: bytes, new: bytes, *, now: int, expires_at: int, owner: str = ""
    ) -> bool:
        """Compare and swap in one step: write `new` if the living value is `old`, byte for byte.

        `owner` is the one that the value has.

        True for exactly one of all who try at once with the same `old` and a `new` that differs from it. False changes
        nothing, the expiry included; a value that is missing or has expired is replaced by nobody.
        """

    async def find(self, kind: str, id_: str, *, now: int) -> bytes | None:
        """The living value, or None."""

    async def find_many(self, kind: str, ids: Sequence[str], *, now: int) -> dict[str, bytes]:
        """The living values of that kind by id, of at most MOST_OWNED ids, in one round trip. Those that do not live
        are missing."""

    async def find_owned(self, kind: str, owner: str, *, now: int, skip: int = 0) -> list[StoredValue]:
        """The living values of that kind and owner, at most MOST_OWNED, those that end last first.

        `skip` passes over so many: a multiple of MOST_OWNED, until the answer is empty, reads all of them.
        """

    async def take(self, kind: str, id_: str, *, now: int) -> bytes | None:
        """Remove the living value and return it: for exactly one of all who try at once, None for the others."""

    async def count(self, kind: str, id_: str, *, now: int, window_seconds: int) -> int:
        """Count this one in and return how many there were in the current window, this one included."""

    async def end(self, kind: str, id_: str, *, now: int, remembered_until: int) -> None:
        """Remove the value and leave a tombstone, in one step. Ending what has ended is no error."""

    async def cursor(self) -> int:
        """The sequence of the newest tombstone ever written, 0 if there was none."""

    async def tombstones_since(self, sequence: int) -> list[Tombstone]:
        """The tombstones after that sequence, in their order. Those that nobody needs any more may be missing."""

    async def sweep(self, *, now: int) -> int:
        """Remove what has expired and would stay otherwise, a bounded number at a time; return how many rows went."""

    async def size(self) -> int:
        """How many rows the store holds, of every kind, expired ones that are still there included."""

    def read_values(self, *, now: int) -> AsyncIterator[StoredValue]:
        """Every living value, in no order. What is written meanwhile may be missing; a value may come twice."""

    def read_ends(self, *, now: int) -> AsyncIterator[StoredEnd]:
        """Every tombstone that is remembered beyond `now`, oldest first."""

    async def close(self) -> None:
        """Let go of files and connections. Calling it twice is no error."""
