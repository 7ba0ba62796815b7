"""All targets of a run: checked before anything is touched, then changed in the right order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ipranges.config import FileTarget, IpsetTarget, NftablesTarget, NginxTarget, UfwTarget
from ipranges.errors import ApplyError, NotAllowedError, PutBackError
from ipranges.files import read_if_there
from ipranges.install.connections import end_connections
from ipranges.install.file_group import build_program, group_key, install_group
from ipranges.install.inspect import Inspection, digest_shape, has_recorded_shape
from ipranges.install.kernel import build_kernel_target, replace_and_prove
from ipranges.install.lockout import verify_not_locked_out
from ipranges.install.program import FileChange
from ipranges.model import TargetOutcome, TargetResult
from ipranges.state import StateStore, TargetRecord
from ipranges.targets import build_file_format
from ipranges.targets.file_formats import LINEAR_LIMIT
from ipranges.targets.marker import verify_ours


@dataclass(frozen=True, slots=True)
class Installer:
    """What installing needs besides the targets. `environment` tells whether we came in over SSH."""

    store: StateStore
    clock: Callable[[], float]
    environment: Mapping[str, str] = field(default_factory=dict)


def install_all(inspections: Sequence[Inspection], installer: Installer) -> list[TargetResult]:
    """Bring every target to what is wanted; one that fails stops no other. In the order given."""
    results = {i.label: _result(i, TargetOutcome.IN_SYNC) for i in inspections if i.in_sync}
    waiting = [i for i in inspections if not i.in_sync]
    # Checks touch nothing live, so they all run beside the first group's installation.
    with ThreadPoolExecutor(max(len(waiting), 1)) as pool:
        checks = {i.label: pool.submit(_check, i, installer) for i in waiting}
        for group in _order(waiting):
            ready = []
            for inspection in group:
                try:
                    ready.append((inspection, checks[inspection.label].result()))
                except ApplyError as error:
                    results[inspection.label] = _failed(inspection, error)
                except NotAllowedError as error:
                    results[inspection.label] = _result(inspection, TargetOutcome.HELD, str(error))
            for result in _install_group(ready, installer):
                results[result.name] = result
    return [results[i.label] for i in inspections]


def _order(inspections: Sequence[Inspection]) -> list[list[Inspection]]:
    """Groups, the firewall first when ranges are added, last when they only go.

    A peer must be let in by the outer ring before the inner one expects it, and be refused by the inner
    one no later than by the outer.
    """
    groups: dict[tuple[object, ...], list[Inspection]] = {}
    for inspection in inspections:
        target = inspection.wanted.target
        key = group_key(target) if isinstance(target, FileTarget) else (target.type_name, target.place)
        groups.setdefault(key, []).append(inspection)
    widening = any(inspection.added for inspection in inspections)
    return sorted(groups.values(), key=lambda group: _ring(group[0]) if widening else -_ring(group[0]))


def _ring(inspection: Inspection) -> int:
    return 0 if isinstance(inspection.wanted.target, NftablesTarget | IpsetTarget | UfwTarget) else 1


def _check(inspection: Inspection, installer: Installer) -> FileChange | None:
    """Everything that can be found out without touching anything live; raises ApplyError."""
    target, networks = inspection.wanted.target, inspection.wanted.networks
    if inspection.problem:
        raise ApplyError(inspection.problem)
    if not networks:
        raise ApplyError("there is nothing to allow; an empty list is never installed")
    if not isinstance(target, FileTarget):
        if isinstance(target, NftablesTarget):
            record = installer.store.load_target(target.label)
            verify_not_locked_out(target, networks, record, installer.environment)
        return None
    old = read_if_there(Path(target.path))
    verify_ours(old, target.path)
    new = build_file_format(target).render(target.label, networks).encode()
    change = FileChange(target, networks, new, old)
    build_program(target).check_candidate(change)
    return change


def _install_group(ready: Sequence[tuple[Inspection, FileChange | None]], installer: Installer) -> list[TargetResult]:
    if not ready:
        return []
    try:
        remark = _apply(ready, installer)
    except ApplyError as error:
        return [_failed(inspection, error) for inspection, _ in ready]
    results = []
    for inspection, _ in ready:
        outcome = TargetOutcome.REPAIRED if inspection.was_applied else TargetOutcome.CHANGED
        message = "; ".join(filter(None, (_drift_message(inspection), remark, _advice(inspection))))
        results.append(_result(inspection, outcome, message))
    return results


def _apply(ready: Sequence[tuple[Inspection, FileChange | None]], installer: Installer) -> str:
    changes = [change for _, change in ready if change is not None]
    if changes:
        remark = install_group(changes, build_program(changes[0].target), installer.store)
        for inspection, _ in ready:
            _remember(inspection, installer, "")
        return remark
    inspection = ready[0][0]
    target, networks = inspection.wanted.target, inspection.wanted.networks
    if isinstance(target, FileTarget):
        raise ApplyError("a file target without a change")  # cannot be: _check makes one for each
    record = installer.store.load_target(target.label)
    keep_rules = inspection.live.networks is not None and has_recorded_shape(target, inspection.live, record)
    after = replace_and_prove(build_kernel_target(target), inspection.live, networks, keep_rules=keep_rules)
    _remember(inspection, installer, digest_shape(target, after))
    return end_connections(target, inspection.removed) if isinstance(target, NftablesTarget) else ""


def _remember(inspection: Inspection, installer: Installer, shape: str) -> None:
    record = TargetRecord(inspection.wanted.networks.sha256, int(installer.clock()), shape)
    installer.store.save_target(inspection.label, record)


def _drift_message(inspection: Inspection) -> str:
    if not inspection.was_applied:
        return ""
    is_gone = inspection.live.networks is None and not inspection.live.listing
    what = "was gone" if is_gone else "had been changed by somebody else"
    return f"drift: it {what}, and was put right"


def _advice(inspection: Inspection) -> str:
    target = inspection.wanted.target
    count = len(inspection.wanted.networks.all_cidrs)
    if isinstance(target, NginxTarget) and build_file_format(target).is_linear and count > LINEAR_LIMIT:
        return f"{count} entries that nginx looks through one by one: use nginx-geo"
    return ""


def _failed(inspection: Inspection, error: ApplyError) -> TargetResult:
    failed, worse = TargetOutcome.FAILED, TargetOutcome.PUT_BACK_FAILED
    return _result(inspection, worse if isinstance(error, PutBackError) else failed, str(error))


def _result(inspection: Inspection, outcome: TargetOutcome, message: str = "") -> TargetResult:
    return TargetResult(inspection.label, outcome, message, inspection.added, inspection.removed)
