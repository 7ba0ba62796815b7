"""Add now, remove later, but surely: ranges that a source no longer publishes stay allowed for a while.

Providers flap (one of Amazon's ranges came and went 174 times) and the two endpoints of one provider have
disagreed for a month. But a range that left gets new users: it must go in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipranges.model import Leaving
from ipranges.networks import NetworkSet


@dataclass(frozen=True, slots=True)
class Grace:
    """Gone after so many editions without it over so many seconds, and after `max_seconds` in any case."""

    sightings: int = 3
    min_seconds: int = 24 * 3600
    max_seconds: int = 7 * 24 * 3600


def count_absence(
    leaving: tuple[Leaving, ...], old: NetworkSet, new: NetworkSet, *, now: int, grace: Grace
) -> tuple[Leaving, ...]:
    """What is still on its way out after one more edition was seen."""
    still = [Leaving(entry.networks - new, entry.since, entry.sightings + 1) for entry in leaving]
    missing = old - new
    for entry in leaving:
        missing -= entry.networks
    if missing:
        still.append(Leaving(missing, now, 1))
    return let_go(tuple(entry for entry in still if entry.networks), now=now, grace=grace)


def let_go(leaving: tuple[Leaving, ...], *, now: int, grace: Grace) -> tuple[Leaving, ...]:
    """Without the entries whose time is over.

    A `since` in the future (the clock was set back) counts from now: a wait begins anew, and ends.
    """
    kept = []
    for entry in leaving:
        since = min(entry.since, now)
        age = now - since
        over = age >= grace.max_seconds or (entry.sightings >= grace.sightings and age >= grace.min_seconds)
        if not over:
            kept.append(Leaving(entry.networks, since, entry.sightings))
    return tuple(kept)
