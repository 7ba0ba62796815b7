"""The second half of a run: every target is brought to what its sources allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ipranges.config import Config, FileTarget, TargetConfig
from ipranges.install import Installer, Wanted, inspect_target, install_all
from ipranges.install.lockout import settle_mode
from ipranges.model import SourceMemory, SourceOutcome, SourceResult, TargetOutcome, TargetResult
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.runtime import Runtime
from ipranges.state import StateStore
from ipranges.targets import build_file_format


def bring_targets(
    config: Config,
    memories: Mapping[str, SourceMemory],
    results: Mapping[str, SourceResult],
    store: StateStore,
    runtime: Runtime,
    *,
    only_kernel: bool = False,
) -> list[TargetResult]:
    """Install what every target should hold; a target with a source that has no list is left alone."""
    found: list[TargetResult] = []
    inspections = []
    held: dict[str, str] = {}
    for target in config.targets:
        if only_kernel and isinstance(target, FileTarget):
            continue
        networks, missing = want(config, target, memories, results)
        if missing:
            found.append(TargetResult(target.label, TargetOutcome.SKIPPED, f"left alone: {missing}"))
            continue
        settled, why = settle_mode(target, store, now=runtime.clock())
        held |= {target.label: why} if why else {}
        inspections.append(inspect_target(Wanted(settled, networks), store))
    installer = Installer(store, runtime.clock, runtime.environment)
    for result in install_all(inspections, installer):
        why = held.get(result.name, "")
        found.append(replace(result, outcome=TargetOutcome.HELD, message=why) if why else result)
    return found


def want(
    config: Config,
    target: TargetConfig,
    memories: Mapping[str, SourceMemory],
    results: Mapping[str, SourceResult],
) -> tuple[NetworkSet, str]:
    """What a target should allow, or why that cannot be said."""
    networks = NetworkSet()
    for name in target.sources:
        if results[name].outcome is SourceOutcome.DAMAGED:
            return NetworkSet(), f"what was accepted of {name} is not known"
        if memories[name].current is None:
            return NetworkSet(), f"there is no list of {name} yet"
        networks |= memories[name].installed
    if not isinstance(target, FileTarget) or build_file_format(target).merges_always_allow:
        networks |= parse_network_set(config.always_allow)
    return networks, ""
