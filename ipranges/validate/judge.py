"""One edition against what is remembered of its source: accept, hold, ignore. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ipranges.errors import NotAllowedError
from ipranges.model import Candidate, Edition, SourceMemory, SourceOutcome, Validators
from ipranges.validate.grace import Grace, count_absence, let_go
from ipranges.validate.guards import GuardLimits, Objection, find_objection


@dataclass(frozen=True, slots=True)
class Policy:
    """How one source is judged. `auto_approve_*` are 0 where only a person approves."""

    guards: GuardLimits = field(default_factory=GuardLimits)
    grace: Grace = field(default_factory=Grace)
    auto_approve_sightings: int = 0
    auto_approve_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict, the memory that follows from it, and the sentence for the operator."""

    memory: SourceMemory
    outcome: SourceOutcome
    message: str = ""


def judge_edition(
    memory: SourceMemory, edition: Edition, validators: Validators | None, policy: Policy, *, now: int
) -> Judged:
    """What becomes of a verified edition. The list in force changes only where the outcome says so."""
    current = memory.current
    if current is None:
        return Judged(accept(memory, edition, validators, policy, now=now), SourceOutcome.FIRST)
    if _is_older(edition, current):
        message = f"answered with serial {edition.serial}, older than {current.serial}: ignored"
        return Judged(_pass_time(memory, policy, now), SourceOutcome.OLDER, message)
    if edition.networks == current.networks:
        return Judged(accept(memory, edition, validators, policy, now=now), SourceOutcome.UNCHANGED)
    objection = _find_objection(memory, edition, policy)
    if objection is None:
        return Judged(accept(memory, edition, validators, policy, now=now), SourceOutcome.CHANGED)
    return _hold(memory, edition, objection, policy, now)


def judge_failure(memory: SourceMemory, policy: Policy, *, now: int) -> SourceMemory:
    """What is remembered after a source gave no list: everything, but removals end in time."""
    return _pass_time(memory, policy, now)


def accept(
    memory: SourceMemory, edition: Edition, validators: Validators | None, policy: Policy, *, now: int
) -> SourceMemory:
    """The memory in which `edition` is in force. What it lacks begins, or goes on, to leave."""
    old = memory.current.networks if memory.current else edition.networks
    is_same = memory.current is not None and old == edition.networks
    leaving = count_absence(memory.leaving, old, edition.networks, now=now, grace=policy.grace)
    # The first edition's own times stay as long as the set stays: bytes and version words are no change.
    current = memory.current if is_same and memory.current else edition
    if is_same and memory.current and edition.serial != memory.current.serial:
        current = replace(memory.current, serial=edition.serial, version=edition.version)
    return replace(
        memory,
        current=current,
        leaving=leaving,
        candidate=None,
        validators=validators,
        changed_at=memory.changed_at if is_same else now,
        seeded=False,
    )


def approve_candidate(memory: SourceMemory, sha256: str, policy: Policy, *, now: int) -> SourceMemory:
    """The memory in which the held edition is in force; raises NotAllowedError for another digest.

    The digest is demanded so that what a person looked at is what is installed.
    """
    candidate = memory.candidate
    if candidate is None:
        raise NotAllowedError(f"{memory.name}: no edition is held")
    if len(sha256) < 12 or not candidate.edition.sha256.startswith(sha256.lower()):
        raise NotAllowedError(f"{memory.name}: the edition that is held is {candidate.edition.sha256}")
    refused = tuple(sha for sha in memory.refused_sha256 if sha != candidate.edition.sha256)
    memory = replace(memory, refused_sha256=refused)
    return accept(memory, candidate.edition, None, policy, now=now)


def _is_older(edition: Edition, current: Edition) -> bool:
    return edition.serial is not None and current.serial is not None and edition.serial < current.serial


def _find_objection(memory: SourceMemory, edition: Edition, policy: Policy) -> Objection | None:
    if edition.sha256 in memory.refused_sha256:
        return Objection("rolled_back", "this edition was rolled back by a person")
    if memory.current is None:
        return None
    return find_objection(memory.current.networks, edition.networks, policy.guards)


def _hold(memory: SourceMemory, edition: Edition, objection: Objection, policy: Policy, now: int) -> Judged:
    known = memory.candidate
    if known is not None and known.edition.sha256 == edition.sha256:
        candidate = replace(known, sightings=known.sightings + 1, first_seen_at=min(known.first_seen_at, now))
    else:
        candidate = Candidate(edition, objection.reason, objection.figures, now)
    if _may_approve_itself(candidate, policy, now):
        memory = replace(memory, candidate=candidate)
        message = f"{objection.figures}; accepted after {candidate.sightings} sightings, as `auto_approve` says"
        return Judged(accept(memory, edition, None, policy, now=now), SourceOutcome.CHANGED, message)
    kept = replace(_pass_time(memory, policy, now), candidate=candidate)
    command = f"ipranges approve {memory.name} {edition.sha256[:16]}"
    message = f"held: {objection.figures}; the old list stays; look at `ipranges diff`, then `{command}`"
    return Judged(kept, SourceOutcome.HELD, message)


def _may_approve_itself(candidate: Candidate, policy: Policy, now: int) -> bool:
    return (
        policy.auto_approve_sightings > 0
        and candidate.reason != "rolled_back"
        and candidate.sightings >= policy.auto_approve_sightings
        and now - candidate.first_seen_at >= policy.auto_approve_seconds
    )


def _pass_time(memory: SourceMemory, policy: Policy, now: int) -> SourceMemory:
    return replace(memory, leaving=let_go(memory.leaving, now=now, grace=policy.grace))
