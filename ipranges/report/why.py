"""`why IP`: which source allows an address, since when, and in which targets it is live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipranges.config import Config
from ipranges.networks import Family, NetworkSet, parse_address, parse_network_set
from ipranges.report.status import read_status
from ipranges.report.table import render_time
from ipranges.runtime import Runtime
from ipranges.state import Generation, StateStore


def explain_address(config: Config, text: str, runtime: Runtime) -> dict[str, Any]:
    """Everything that is known of one address; raises MalformedNetworkError for what is none."""
    family, address = parse_address(text)
    store = StateStore(Path(config.state_dir))
    status = read_status(config, runtime)
    generations = store.list_generations()
    always = [c for c in config.always_allow if parse_network_set([c]).contains(family, address)]
    sources = []
    for source in status.sources:
        memory = source.recalled.memory
        found: dict[str, Any] = {
            "source": source.name,
            "since": _since(generations, source.name, family, address),
        }
        if memory.current is not None and (cidr := _find(memory.current.networks, family, address)):
            sources.append(found | {"cidr": cidr, "state": "published", "version": memory.current.version})
        for entry in memory.leaving:
            if cidr := _find(entry.networks, family, address):
                left = {"missing_since": entry.since, "sightings": entry.sightings}
                sources.append(found | {"cidr": cidr, "state": "leaving", **left})
    targets = {
        target.label: bool(
            target.inspection
            and target.inspection.live.networks
            and target.inspection.live.networks.contains(family, address)
        )
        for target in status.targets
    }
    return {"address": text, "always_allow": always, "sources": sources, "targets": targets}


def render_explanation(explanation: dict[str, Any], config: Config) -> str:
    """The same for a person."""
    lines = [f"{explanation['address']}:"]
    lines += [f"  {cidr} stands in always_allow" for cidr in explanation["always_allow"]]
    for found in explanation["sources"]:
        since = f"in force since {render_time(found['since'])}"
        if found["state"] == "published":
            lines.append(f"  {found['cidr']} is published by {found['source']}, {since}")
        else:
            lines.append(
                f"  {found['cidr']} is no longer published by {found['source']}, {since}: missing since "
                f"{render_time(found['missing_since'])}, seen {found['sightings']} time(s) without it; "
                f"it leaves after {config.removal.sightings} and {config.removal.min_hours} h"
            )
    if len(lines) == 1:
        lines.append("  no source and no always_allow names it")
    lines += [f"  {label}: {'allowed' if live else 'not allowed'}" for label, live in explanation["targets"].items()]
    return "\n".join(lines) + "\n"


def _find(networks: NetworkSet, family: Family, address: int) -> str:
    """The prefix of the minimal form that holds an address."""
    for interval in networks.get(family):
        if interval[0] <= address <= interval[1]:
            piece = NetworkSet(**{family: (interval,)})
            return next(c for c in piece.all_cidrs if parse_network_set([c]).contains(family, address))
    return ""


def _since(generations: list[Generation], source: str, family: Family, address: int) -> int:
    """From when on the address was allowed without a gap, as far as generations are kept; 0 for unknown."""
    since = 0
    for generation in reversed(generations):
        if not generation.sources.get(source, NetworkSet()).contains(family, address):
            break
        since = generation.created_at
    return since
