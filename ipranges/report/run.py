"""What a run says: a few lines for a person, one value for scripts, a record of each change for the log."""

from __future__ import annotations

from typing import Any

from ipranges.model import SourceOutcome, SourceResult, TargetOutcome, TargetResult
from ipranges.sync import RunReport

_QUIET_SOURCES = (SourceOutcome.FIRST, SourceOutcome.UNCHANGED, SourceOutcome.CHANGED, SourceOutcome.OLDER)
_QUIET_TARGETS = (TargetOutcome.IN_SYNC, TargetOutcome.CHANGED)
_CHANGED = (TargetOutcome.CHANGED, TargetOutcome.REPAIRED)


def render_run(report: RunReport) -> str:
    """A line for each source and target; what `find_troubles` says of one is not said twice."""
    lines = [f"{r.name}: {_words(r, r.outcome in _QUIET_SOURCES)}" for r in report.sources]
    lines += [f"{r.name}: {_words(r, r.outcome in _QUIET_TARGETS)}" for r in report.targets]
    return "\n".join(lines) + "\n"


def find_troubles(report: RunReport) -> list[str]:
    """The lines that somebody has to see even in a quiet run; drift that was repaired is one."""
    troubles = [f"{r.name}: {r.message or r.outcome}" for r in report.sources if r.outcome not in _QUIET_SOURCES]
    for result in report.targets:
        if result.outcome not in _QUIET_TARGETS:
            troubles.append(f"{result.name}: {result.message or result.outcome}")
    return troubles


def describe_run(report: RunReport) -> dict[str, Any]:
    """The whole run for scripts."""
    return {
        "exit_code": int(report.exit_code),
        "generation": report.generation,
        "duration_seconds": round(report.duration_seconds, 3),
        "sources": {r.name: _describe(r) for r in report.sources},
        "targets": {r.name: _describe(r) for r in report.targets},
    }


def describe_changes(report: RunReport) -> list[dict[str, Any]]:
    """A record for each target that was changed, for the log and the `on_change` command."""
    return [
        {"event": "ipranges.change", "target": r.name, "generation": report.generation, **_describe(r)}
        for r in report.targets
        if r.outcome in _CHANGED
    ]


def _describe(result: SourceResult | TargetResult) -> dict[str, Any]:
    return {
        "outcome": str(result.outcome),
        "message": result.message,
        "added": result.added.all_cidrs,
        "removed": result.removed.all_cidrs,
    }


def _words(result: SourceResult | TargetResult, with_message: bool) -> str:
    parts = [str(result.outcome).replace("_", " ")]
    if result.outcome not in (TargetOutcome.IN_SYNC, SourceOutcome.UNCHANGED):
        added, removed = len(result.added.all_cidrs), len(result.removed.all_cidrs)
        parts += [f"{added} added"] if added else []
        parts += [f"{removed} removed"] if removed else []
    text = ", ".join(parts)
    return f"{text}: {result.message}" if result.message and with_message else text
