"""`check`: one line for Nagios, Icinga and their like, with the exit codes that they want."""

from __future__ import annotations

from enum import IntEnum

from ipranges.config import Config
from ipranges.report.status import SourceStatus, Status, TargetStatus, describe_source_state
from ipranges.report.table import render_age


class CheckCode(IntEnum):
    """The monitoring plugins' own codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def check(status: Status, config: Config) -> tuple[CheckCode, str]:
    """The gravest finding, one line, and performance data behind a bar."""
    found = [_check_source(source, config) for source in status.sources]
    found += [_check_target(target) for target in status.targets]
    worst = max((code for code, _ in found), key=_gravity)
    words = [words for code, words in found if words and code is not CheckCode.OK] or ["all lists in force"]
    return worst, f"IPRANGES {worst.name} - {'; '.join(words)} | {_render_figures(status, config)}"


def _gravity(code: CheckCode) -> int:
    return (CheckCode.OK, CheckCode.UNKNOWN, CheckCode.WARNING, CheckCode.CRITICAL).index(code)


def _check_source(source: SourceStatus, config: Config) -> tuple[CheckCode, str]:
    if source.recalled.is_lost or source.recalled.memory.current is None:
        return CheckCode.CRITICAL, f"{source.name}: {describe_source_state(source)}"
    age = source.age_seconds
    if age is None and not source.recalled.memory.seeded:
        return CheckCode.CRITICAL, f"{source.name}: the age is not known"
    if age is not None and age > config.stale.critical_days * 86_400:
        return CheckCode.CRITICAL, f"{source.name}: {render_age(age)} old"
    if age is not None and age > config.stale.warn_days * 86_400:
        return CheckCode.WARNING, f"{source.name}: {render_age(age)} old"
    if source.recalled.memory.candidate or source.recalled.memory.seeded or source.recalled.problem:
        return CheckCode.WARNING, f"{source.name}: {describe_source_state(source)}"
    return CheckCode.OK, ""


def _check_target(target: TargetStatus) -> tuple[CheckCode, str]:
    if target.state == "in_sync":
        return (CheckCode.WARNING, f"{target.label}: {target.detail}") if target.detail else (CheckCode.OK, "")
    return CheckCode.CRITICAL, f"{target.label}: {target.detail or 'is not what it should be'}"


def _render_figures(status: Status, config: Config) -> str:
    warn, critical = config.stale.warn_days * 86_400, config.stale.critical_days * 86_400
    ages = {s.name: "U" if s.age_seconds is None else f"{s.age_seconds}s" for s in status.sources}
    return " ".join(f"'{name}_age'={age};{warn};{critical}" for name, age in ages.items())
