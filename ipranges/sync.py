"""The story of one run: ask the sources, judge what they say, and bring the targets to it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipranges.asking import ask_sources
from ipranges.bringing import bring_targets, want
from ipranges.config import Config
from ipranges.errors import ExitCode, gravest
from ipranges.install import Inspection, Wanted, inspect_target
from ipranges.install.lockout import settle_mode
from ipranges.model import SourceMemory, SourceOutcome, SourceResult, Stamps, TargetOutcome, TargetResult
from ipranges.recall import Recalled, recall
from ipranges.runtime import Runtime
from ipranges.staleness import is_stale
from ipranges.state import StateStore


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that happened, for people, scripts and metrics."""

    sources: Sequence[SourceResult]
    targets: Sequence[TargetResult]
    exit_code: ExitCode
    memories: Mapping[str, SourceMemory]
    stamps: Mapping[str, Stamps]
    generation: int
    duration_seconds: float


def sync(config: Config, runtime: Runtime) -> RunReport:
    """One run. Raises ApplyError if the state cannot be written: then nothing live was touched."""
    started = time.monotonic()
    store = StateStore(Path(config.state_dir))
    memories, stamps, results = ask_sources(config, store, runtime)
    for name, memory in memories.items():
        if _may_save(results[name]):
            store.save_memory(memory)
    targets = bring_targets(config, memories, results, store, runtime)
    generation = remember_generation(config, memories, store, runtime)
    store.save_stamps(stamps)
    code = judge_run(config, results, targets, memories, stamps, now=runtime.now)
    duration = time.monotonic() - started
    return RunReport([*results.values()], targets, code, memories, stamps, generation, duration)


def apply_remembered(config: Config, runtime: Runtime, *, only_kernel: bool = False) -> RunReport:
    """Bring the targets to what is remembered, without asking anybody: at boot, and after a person's word."""
    started = time.monotonic()
    store = StateStore(Path(config.state_dir))
    recalled = {source.name: recall(store, source.name) for source in config.sources}
    memories = {name: entry.memory for name, entry in recalled.items()}
    results = {name: _remembered_result(name, entry) for name, entry in recalled.items()}
    targets = bring_targets(config, memories, results, store, runtime, only_kernel=only_kernel)
    generation = remember_generation(config, memories, store, runtime)
    stamps = store.load_stamps()
    if only_kernel:
        # At boot the question is whether the firewall stands; how old its list is, the next run tells.
        code = judge_targets(targets)
    else:
        code = judge_run(config, results, targets, memories, stamps, now=runtime.now)
    duration = time.monotonic() - started
    return RunReport([*results.values()], targets, code, memories, stamps, generation, duration)


def preview(
    config: Config, runtime: Runtime
) -> tuple[dict[str, SourceResult], dict[str, SourceMemory], list[Inspection]]:
    """What a run would do, told without writing anything."""
    store = StateStore(Path(config.state_dir))
    memories, _, results = ask_sources(config, store, runtime)
    inspections = []
    for target in config.targets:
        networks, missing = want(config, target, memories, results)
        settled, _ = settle_mode(target, store, now=runtime.clock())
        if not missing:
            inspections.append(inspect_target(Wanted(settled, networks), store))
    return results, memories, inspections


def remember_generation(
    config: Config, memories: Mapping[str, SourceMemory], store: StateStore, runtime: Runtime
) -> int:
    """The number of what is wanted now, for `history` and `rollback`; 0 while nothing is."""
    sets = {name: memory.installed for name, memory in memories.items() if memory.current}
    return store.add_generation(sets, now=runtime.now, keep=config.keep_generations) if sets else 0


def judge_run(
    config: Config,
    results: Mapping[str, SourceResult],
    targets: Sequence[TargetResult],
    memories: Mapping[str, SourceMemory],
    stamps: Mapping[str, Stamps],
    *,
    now: int,
) -> ExitCode:
    """The exit code: the gravest of what happened."""
    of_source = {
        SourceOutcome.HELD: ExitCode.HELD,
        SourceOutcome.DAMAGED: ExitCode.HELD,
        SourceOutcome.FAILED: ExitCode.SOURCE_FAILED,
        SourceOutcome.SEEDED: ExitCode.SOURCE_FAILED,
        SourceOutcome.NO_LIST: ExitCode.STALE,
    }
    codes = [of_source.get(result.outcome, ExitCode.OK) for result in results.values()]
    codes.append(judge_targets([result for result in targets if result.outcome is not TargetOutcome.SKIPPED]))
    for name in results:
        if is_stale(memories[name], stamps.get(name, Stamps()), config, now=now):
            codes.append(ExitCode.STALE)
    return gravest(codes)


def judge_targets(targets: Sequence[TargetResult]) -> ExitCode:
    """The gravest of what happened to the targets; one that was left alone for want of a list counts as stale."""
    of_target = {
        TargetOutcome.FAILED: ExitCode.APPLY_FAILED,
        TargetOutcome.PUT_BACK_FAILED: ExitCode.PUT_BACK_FAILED,
        TargetOutcome.HELD: ExitCode.HELD,
        TargetOutcome.SKIPPED: ExitCode.STALE,
    }
    return gravest([of_target.get(result.outcome, ExitCode.OK) for result in targets])


def _remembered_result(name: str, recalled: Recalled) -> SourceResult:
    if recalled.is_lost:
        return SourceResult(name, SourceOutcome.DAMAGED, recalled.problem)
    outcome = SourceOutcome.UNCHANGED if recalled.memory.current else SourceOutcome.NO_LIST
    return SourceResult(name, outcome, recalled.problem)


def _may_save(result: SourceResult) -> bool:
    return result.outcome not in (SourceOutcome.DAMAGED, SourceOutcome.NO_LIST)
