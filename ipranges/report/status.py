"""`status` and `check`: what is in force, how old it is, and whether somebody has to look. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipranges.bringing import want
from ipranges.config import Config
from ipranges.install import Inspection, Wanted, inspect_target
from ipranges.install.lockout import settle_mode
from ipranges.model import SourceOutcome, SourceResult, Stamps
from ipranges.recall import Recalled, recall
from ipranges.report.advice import find_advice
from ipranges.report.table import render_age, render_table, render_time
from ipranges.runtime import Runtime
from ipranges.sources import CATALOG
from ipranges.staleness import find_age_seconds
from ipranges.state import StateStore


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source. `age_seconds` is None where it is not known, 0 for lists in the operator's own file."""

    name: str
    recalled: Recalled
    stamps: Stamps
    age_seconds: int | None
    note: str


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target: `state` is in_sync, differs, waiting (no list yet) or failed; `detail` says more."""

    label: str
    state: str
    detail: str
    inspection: Inspection | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `status` shows."""

    sources: tuple[SourceStatus, ...]
    targets: tuple[TargetStatus, ...]
    advice: tuple[str, ...] = ()


def read_status(config: Config, runtime: Runtime) -> Status:
    """Read state and live targets; asks no source."""
    store = StateStore(Path(config.state_dir))
    stamps = store.load_stamps()
    sources = []
    for source in config.sources:
        recalled, stamp = recall(store, source.name), stamps.get(source.name, Stamps())
        own = source.type == "static" and recalled.memory.current is not None
        age = 0 if own else find_age_seconds(stamp, now=runtime.now)
        note = CATALOG[source.type].note if source.type in CATALOG else ""
        sources.append(SourceStatus(source.name, recalled, stamp, age, note))
    targets = _read_targets(config, sources, store, runtime)
    return Status(tuple(sources), tuple(targets), tuple(find_advice(config)))


def _read_targets(
    config: Config, sources: list[SourceStatus], store: StateStore, runtime: Runtime
) -> list[TargetStatus]:
    memories = {source.name: source.recalled.memory for source in sources}
    results = {
        source.name: SourceResult(
            source.name, SourceOutcome.DAMAGED if source.recalled.is_lost else SourceOutcome.UNCHANGED
        )
        for source in sources
    }
    found = []
    for target in config.targets:
        settled, why = settle_mode(target, store, now=runtime.clock())
        networks, missing = want(config, target, memories, results)
        if missing:
            found.append(TargetStatus(target.label, "waiting", missing, None))
            continue
        inspection = inspect_target(Wanted(settled, networks), store)
        state = "failed" if inspection.problem else "in_sync" if inspection.in_sync else "differs"
        mode = getattr(settled, "mode", "enforce")
        detail = inspection.problem or why or ("" if mode == "enforce" else "observing: nobody is refused")
        found.append(TargetStatus(target.label, state, detail, inspection))
    return found


def render_status(status: Status) -> str:
    """Two tables, and below them what a person should know."""
    rows = [_source_row(source) for source in status.sources]
    text = render_table(("source", "prefixes", "ipv4 addresses", "age", "changed", "state"), rows)
    text += "\n"
    targets = [(t.label, t.state.replace("_", " "), _allowed(t), t.detail) for t in status.targets]
    text += render_table(("target", "state", "allows", "detail"), targets)
    notes = [f"{source.name}: {source.note}" for source in status.sources if source.note]
    if status.advice:
        text += "\nBeware:\n" + "".join(f"  {line}\n" for line in status.advice)
    if notes:
        text += "\nAn address list is layer one of two; it tells nobody who a visitor is:\n"
        text += "".join(f"  {note}\n" for note in notes)
    return text


def _source_row(source: SourceStatus) -> tuple[str, ...]:
    memory = source.recalled.memory
    networks = memory.installed
    prefixes = f"{len(networks.cidrs('v4'))} + {len(networks.cidrs('v6'))}"
    return (
        *(source.name, prefixes, f"{networks.address_count('v4'):,}", render_age(source.age_seconds)),
        *(render_time(memory.changed_at), describe_source_state(source)),
    )


def describe_source_state(source: SourceStatus) -> str:
    """The most important thing to say of a source, in a few words."""
    memory = source.recalled.memory
    if source.recalled.problem:
        return source.recalled.problem
    if memory.current is None:
        return f"no list yet{': ' + source.stamps.last_failure if source.stamps.last_failure else ''}"
    if memory.candidate:
        return f"held: {memory.candidate.figures}"
    if source.stamps.last_failure_at > source.stamps.last_success_at:
        return f"last try failed: {source.stamps.last_failure}"
    if memory.seeded:
        return "the package's own copy"
    if memory.leaving:
        return f"ok; {sum(len(entry.networks.all_cidrs) for entry in memory.leaving)} leaving"
    return "ok"


def _allowed(target: TargetStatus) -> str:
    if target.inspection is None or target.inspection.live.networks is None:
        return "-"
    networks = target.inspection.live.networks
    return f"{len(networks.cidrs('v4'))} + {len(networks.cidrs('v6'))}"


def describe_status(status: Status) -> dict[str, Any]:
    """The same for scripts. Times are Unix seconds, 0 for never."""
    return {
        "sources": {source.name: _describe_source(source) for source in status.sources},
        "targets": {target.label: {"state": target.state, "detail": target.detail} for target in status.targets},
        "advice": status.advice,
    }


def _describe_source(source: SourceStatus) -> dict[str, Any]:
    memory = source.recalled.memory
    return {
        "state": describe_source_state(source),
        "age_seconds": source.age_seconds,
        "prefixes": {"v4": len(memory.installed.cidrs("v4")), "v6": len(memory.installed.cidrs("v6"))},
        "ipv4_addresses": memory.installed.address_count("v4"),
        "sha256": memory.current.sha256 if memory.current else "",
        "version": memory.current.version if memory.current else "",
        "serial": memory.current.serial if memory.current else None,
        "changed_at": memory.changed_at,
        "last_success_at": source.stamps.last_success_at,
        "last_failure": source.stamps.last_failure,
        "held_sha256": memory.candidate.edition.sha256 if memory.candidate else "",
        "leaving": [cidr for entry in memory.leaving for cidr in entry.networks.all_cidrs],
        "seeded": memory.seeded,
    }
