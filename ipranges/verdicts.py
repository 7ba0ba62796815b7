"""How one configured source is judged, and the two kinds that are not judged by guards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ipranges.config import Config, SourceConfig
from ipranges.model import Edition, SourceMemory, SourceOutcome, Validators
from ipranges.sources import Provider
from ipranges.validate import Judged, Policy, verify_edition
from ipranges.validate.grace import Grace
from ipranges.validate.guards import GuardLimits


def build_policy(source: SourceConfig, config: Config) -> Policy:
    """Guards, removal and self-approval of one source: its own settings before the file's."""
    guards, removal, auto = config.guards, config.removal, source.auto_approve

    def own(value: float | None, default: float) -> float:
        return default if value is None else value

    return Policy(
        guards=GuardLimits(
            own(source.min_retained, guards.min_retained),
            own(source.max_growth_v4, guards.max_growth_v4),
            own(source.max_growth_v6, guards.max_growth_v6),
        ),
        grace=Grace(removal.sightings, removal.min_hours * 3600, removal.max_days * 86_400),
        auto_approve_sightings=auto.sightings if auto else 0,
        auto_approve_seconds=auto.hours * 3600 if auto else 0,
    )


def judge_own(
    memory: SourceMemory, edition: Edition, validators: Validators | None, policy: Policy, *, now: int
) -> Judged:
    """A list in the operator's own file is the operator's word: in force at once, removals too."""
    del validators, policy
    if memory.current is not None and memory.current.networks == edition.networks:
        return Judged(memory, SourceOutcome.UNCHANGED)
    outcome = SourceOutcome.FIRST if memory.current is None else SourceOutcome.CHANGED
    return Judged(replace(memory, current=edition, leaving=(), candidate=None, changed_at=now), outcome)


def seed_memory(
    memory: SourceMemory, source: SourceConfig, provider: Provider, failure: str, *, now: int
) -> Judged | None:
    """The package's dated copy, if nothing better was ever there and the operator asked for it."""
    if memory.current is not None and not memory.seeded:
        return None
    if source.seed != "bundled" or not provider.bundled:
        return None
    dated = int(datetime.fromisoformat(provider.bundled_on).replace(tzinfo=UTC).timestamp())
    edition = verify_edition(provider.bundled, provider.limits, url="bundled", fetched_at=dated, version="bundled")
    seeded = replace(memory, current=edition, seeded=True, changed_at=memory.changed_at or now)
    message = f"{failure}; in use is the copy of {provider.bundled_on} that came with ipranges"
    return Judged(seeded, SourceOutcome.SEEDED, message)
