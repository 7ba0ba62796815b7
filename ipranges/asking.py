"""The first half of a run: every source is asked at once, and what it says is judged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ipranges.config import Config, SourceConfig
from ipranges.errors import FetchError, RefusedError
from ipranges.fetch import Fetcher, HttpLimits, fetch_source
from ipranges.model import SourceMemory, SourceOutcome, SourceResult, Stamps
from ipranges.recall import Recalled, recall
from ipranges.runtime import Runtime
from ipranges.sources import build_provider, fingerprint_source
from ipranges.state import StateStore
from ipranges.validate import Judged, judge_edition, judge_failure
from ipranges.verdicts import build_policy, judge_own, seed_memory

_PARALLEL_FETCHES = 8


def ask_sources(
    config: Config, store: StateStore, runtime: Runtime
) -> tuple[dict[str, SourceMemory], dict[str, Stamps], dict[str, SourceResult]]:
    """Every source's new memory, stamps and result. They are asked at once, and none waits for another."""
    with ThreadPoolExecutor(min(_PARALLEL_FETCHES, len(config.sources))) as pool:
        asked = list(pool.map(lambda source: _ask(source, config, store, runtime), config.sources))
    known = store.load_stamps()
    memories, stamps, results = {}, {}, {}
    for source, (memory, result) in zip(config.sources, asked, strict=True):
        memories[source.name], results[source.name] = memory, result
        stamps[source.name] = _stamp(known.get(source.name, Stamps()), result, runtime.now)
    return memories, stamps, results


def _ask(
    source: SourceConfig, config: Config, store: StateStore, runtime: Runtime
) -> tuple[SourceMemory, SourceResult]:
    recalled = recall(store, source.name)
    memory, now = recalled.memory, runtime.now
    fingerprint = fingerprint_source(source)
    if memory.fingerprint != fingerprint:
        memory = replace(memory, validators=None, fingerprint=fingerprint)
    provider = build_provider(source)
    fetcher = Fetcher(build_http_limits(source), sleep=runtime.sleep)
    policy = build_policy(source, config)
    try:
        fetched = fetch_source(provider, fetcher, memory, now=now)
    except (FetchError, RefusedError) as error:
        if recalled.is_lost:
            return memory, SourceResult(source.name, SourceOutcome.DAMAGED, f"{recalled.problem}; and {error}")
        judged = seed_memory(memory, source, provider, str(error), now=now)
        return _finish(memory, judged or _fail(judge_failure(memory, policy, now=now), str(error)), recalled)
    if recalled.is_lost:
        return memory, _hold_lost(source.name, fetched.edition.sha256, recalled)
    judge_it = judge_own if source.type == "static" else judge_edition
    judged = judge_it(memory, fetched.edition, fetched.validators, policy, now=now)
    if fetched.detours and not judged.message:
        judged = replace(judged, message="; ".join(fetched.detours))
    return _finish(memory, judged, recalled)


def _fail(memory: SourceMemory, message: str) -> Judged:
    outcome = SourceOutcome.FAILED if memory.current else SourceOutcome.NO_LIST
    return Judged(memory, outcome, message)


def _finish(before: SourceMemory, judged: Judged, recalled: Recalled) -> tuple[SourceMemory, SourceResult]:
    old, new = before.installed, judged.memory.installed
    message = "; ".join(filter(None, (recalled.problem, judged.message)))
    result = SourceResult(before.name, judged.outcome, message, new - old, old - new)
    return judged.memory, result


def _hold_lost(name: str, sha256: str, recalled: Recalled) -> SourceResult:
    """Nothing is known of what was accepted before: a person compares, and says which edition counts."""
    message = f"{recalled.problem}; live lists are left alone; `ipranges approve {name} {sha256[:16]}` begins anew"
    return SourceResult(name, SourceOutcome.DAMAGED, message)


def _stamp(stamps: Stamps, result: SourceResult, now: int) -> Stamps:
    if result.outcome in (SourceOutcome.FIRST, SourceOutcome.UNCHANGED, SourceOutcome.CHANGED):
        # A held edition is no success: what is in force grows older, and somebody has to look in time.
        return replace(stamps, last_success_at=now)
    if result.outcome in (
        SourceOutcome.FAILED,
        SourceOutcome.NO_LIST,
        SourceOutcome.SEEDED,
        SourceOutcome.DAMAGED,
    ):
        total = stamps.failures_total + 1
        return replace(stamps, last_failure_at=now, last_failure=result.message[:300], failures_total=total)
    return stamps


def build_http_limits(source: SourceConfig) -> HttpLimits:
    """A source's limits for the fetcher."""
    return HttpLimits(
        deadline_seconds=source.deadline_seconds,
        max_bytes=source.max_bytes,
        retries=source.retries,
        ca_file=source.ca_file,
    )
