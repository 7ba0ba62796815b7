"""`diff`: what a sync would change now, and what is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipranges.install import Inspection
from ipranges.model import SourceMemory, SourceResult
from ipranges.networks import NetworkSet
from ipranges.report.table import render_share

_SHOWN = 200


def describe_difference(added: NetworkSet, removed: NetworkSet, before: NetworkSet) -> dict[str, Any]:
    """A difference for scripts; shares are of the addresses before, None where there were none."""
    return {
        "added": added.all_cidrs,
        "removed": removed.all_cidrs,
        "added_addresses": {"v4": added.address_count("v4"), "v6": added.address_count("v6")},
        "removed_addresses": {"v4": removed.address_count("v4"), "v6": removed.address_count("v6")},
        "retained_share": _retained(before, removed),
    }


def _retained(before: NetworkSet, removed: NetworkSet) -> dict[str, float | None]:
    totals = {"v4": before.address_count("v4"), "v6": before.address_count("v6")}
    gone = {"v4": removed.address_count("v4"), "v6": removed.address_count("v6")}
    return {f: round(1 - gone[f] / totals[f], 6) if totals[f] else None for f in totals}


def describe_diff(
    results: Mapping[str, SourceResult],
    memories: Mapping[str, SourceMemory],
    inspections: Sequence[Inspection],
) -> dict[str, Any]:
    """The whole answer of `diff --json`."""
    return {
        "sources": {
            name: {"outcome": str(result.outcome), "message": result.message} for name, result in results.items()
        },
        "held": {name: _describe_held(memory) for name, memory in memories.items() if memory.candidate},
        "targets": {
            i.label: {
                "in_sync": i.in_sync,
                "problem": i.problem,
                **describe_difference(i.added, i.removed, i.live.networks or NetworkSet()),
            }
            for i in inspections
        },
    }


def _describe_held(memory: SourceMemory) -> dict[str, Any]:
    old, new = _old_and_new(memory)
    candidate = memory.candidate
    return {
        "sha256": candidate.edition.sha256 if candidate else "",
        "reason": candidate.reason if candidate else "",
        "figures": candidate.figures if candidate else "",
        **describe_difference(new - old, old - new, old),
    }


def render_diff(
    results: Mapping[str, SourceResult],
    memories: Mapping[str, SourceMemory],
    inspections: Sequence[Inspection],
) -> str:
    """The same for a person."""
    parts = [f"{name}: {result.message}\n" for name, result in results.items() if result.message]
    for name, memory in memories.items():
        if memory.candidate:
            old, new = _old_and_new(memory)
            sha256 = memory.candidate.edition.sha256
            parts.append(f"\nHeld edition of {name}, sha256 {sha256}: {memory.candidate.figures}\n")
            parts.append(render_difference(new - old, old - new, old))
            parts.append(f"  accept it: ipranges approve {name} {sha256[:16]}\n")
    for inspection in inspections:
        if inspection.in_sync:
            parts.append(f"\n{inspection.label}: in sync\n")
            continue
        before = inspection.live.networks
        what = inspection.problem or ("not installed yet" if before is None else "would change")
        parts.append(f"\n{inspection.label}: {what}\n")
        parts.append(render_difference(inspection.added, inspection.removed, before or NetworkSet()))
    return "".join(parts).lstrip("\n")


def render_difference(added: NetworkSet, removed: NetworkSet, before: NetworkSet) -> str:
    """`+` and `-` lines, the IPv4 ones first, with addresses and the share of what was covered before."""
    lines = []
    for sign, word, networks in (("+", "added", added), ("-", "removed", removed)):
        cidrs = networks.all_cidrs
        if cidrs:
            lines.append(f"  {len(cidrs)} {word}: {render_share(networks, before)}\n")
        lines += [f"  {sign} {cidr}\n" for cidr in cidrs[:_SHOWN]]
        if len(cidrs) > _SHOWN:
            lines.append(f"  {sign} ... and {len(cidrs) - _SHOWN} more (all of them with --json)\n")
    if not lines:
        lines.append("  the addresses are the same\n")
    return "".join(lines)


def _old_and_new(memory: SourceMemory) -> tuple[NetworkSet, NetworkSet]:
    old = memory.current.networks if memory.current else NetworkSet()
    return old, memory.candidate.edition.networks if memory.candidate else NetworkSet()
