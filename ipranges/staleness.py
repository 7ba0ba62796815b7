"""How old a list is, with a clock that may have been wrong."""

from __future__ import annotations

from ipranges.config import Config
from ipranges.model import SourceMemory, Stamps

# A stamp a little ahead is two machines' clocks; further ahead, one of the two times is wrong, and the
# age is unknown, which must not look fresh.
_TOLERANCE_SECONDS = 300


def find_age_seconds(stamps: Stamps, *, now: int) -> int | None:
    """How long ago the source last confirmed what is in force; None where that cannot be said."""
    if stamps.last_success_at == 0 or stamps.last_success_at > now + _TOLERANCE_SECONDS:
        return None
    return max(0, now - stamps.last_success_at)


def is_stale(memory: SourceMemory, stamps: Stamps, config: Config, *, now: int) -> bool:
    """Whether a list in force is older than `stale.critical_days`, or of unknown age.

    A list of the package (`seed: bundled`) was never confirmed; it is as old as it says itself.
    """
    if memory.current is None or config.get_source(memory.name).type == "static":
        return False
    age = now - memory.current.fetched_at if memory.seeded else find_age_seconds(stamps, now=now)
    return age is None or age > config.stale.critical_days * 86_400
