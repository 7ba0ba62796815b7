"""Everything from one store into another, sealed as it is, so that nobody is logged out.

Counters of rate limits are left behind. Run it while no authd writes to either store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from authd.errors import StoreUnfitError
from authd.state.base import Store

# Few enough that all of them are answered within the deadline of a call.
_TOGETHER = 50
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Migrated:
    """How much was copied."""

    values: int
    ends: int


async def migrate(source: Store, target: Store, *, now: int, on_progress: Callable[[int], None]) -> Migrated:
    """Copy living values and tombstones. `on_progress` hears now and then how many there were so far.

    Raises StoreUnfitError if the target is not empty or must not be used, StoreError if either store fails: then the
    target is half full, and the source as it was.
    """
    await target.check()
    rows = await target.size()
    if rows:
        raise StoreUnfitError(f"the target is not empty (it holds {rows} rows); name an empty store")
    # Tombstones first: to end something removes the value of that name.
    ends = await _copy(
        source.read_ends(now=now),
        lambda row: target.end(row.kind, row.id, now=now, remembered_until=row.remembered_until),
        on_progress,
    )
    values = await _copy(
        source.read_values(now=now),
        lambda row: target.put(row.kind, row.id, row.value, expires_at=row.expires_at, owner=row.owner),
        lambda count: on_progress(ends + count),
    )
    return Migrated(values=values, ends=ends)


async def _copy(
    rows: AsyncIterator[_Row], write: Callable[[_Row], Awaitable[None]], on_progress: Callable[[int], None]
) -> int:
    count, together = 0, list[_Row]()
    async for row in rows:
        together.append(row)
        if len(together) == _TOGETHER:
            await asyncio.gather(*map(write, together))
            count += len(together)
            together.clear()
            on_progress(count)
    await asyncio.gather(*map(write, together))
    return count + len(together)
