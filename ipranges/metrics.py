"""Metrics for node_exporter's textfile collector. Alert on ages, not on counts of failures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest

from ipranges import __version__
from ipranges.config import Config
from ipranges.files import write_atomically
from ipranges.model import SourceMemory, Stamps, TargetOutcome
from ipranges.networks import FAMILIES
from ipranges.state import StateStore
from ipranges.sync import RunReport

# The moment at which this process made a counter means nothing: each run is a new process.
disable_created_metrics()  # type: ignore[no-untyped-call]

_IN_SYNC = (TargetOutcome.IN_SYNC, TargetOutcome.CHANGED, TargetOutcome.REPAIRED)


def write_metrics(config: Config, report: RunReport, store: StateStore) -> None:
    """Write the file of `metrics`, if one is configured; raises ApplyError."""
    if config.metrics is not None:
        write_atomically(Path(config.metrics), render_metrics(config, report, store))


def render_metrics(config: Config, report: RunReport, store: StateStore) -> bytes:
    """The text in Prometheus' format."""
    registry = CollectorRegistry()
    _add_sources(registry, report.memories, report.stamps)
    _add_targets(registry, report, store)
    _gauge(registry, "ipranges_run_exit_code", "Exit code of the last run").set(int(report.exit_code))
    _gauge(registry, "ipranges_run_duration_seconds", "Duration of the last run").set(report.duration_seconds)
    info = _gauge(registry, "ipranges_info", "Version and number of the list", "version", "generation")
    info.labels(__version__, str(report.generation)).set(1)
    return generate_latest(registry)


def _add_sources(
    registry: CollectorRegistry, memories: Mapping[str, SourceMemory], stamps: Mapping[str, Stamps]
) -> None:
    prefix = "ipranges_source"
    success = _gauge(registry, f"{prefix}_last_success_timestamp_seconds", "Last good answer", "source")
    change = _gauge(registry, f"{prefix}_last_change_timestamp_seconds", "Last accepted change", "source")
    prefixes = _gauge(registry, f"{prefix}_prefixes", "Prefixes in force", "source", "family")
    addresses = _gauge(registry, f"{prefix}_addresses", "IPv4 addresses in force", "source", "family")
    held = _gauge(registry, f"{prefix}_held", "1 while an edition waits for a person", "source", "reason")
    seeded = _gauge(registry, f"{prefix}_seeded", "1 while the package's own copy is in force", "source")
    name = "ipranges_fetch_failures"
    failures = Counter(name, "Failed fetches", ["source"], **_of(registry))
    for source, memory in memories.items():
        stamp = stamps.get(source, Stamps())
        success.labels(source).set(stamp.last_success_at)
        change.labels(source).set(memory.changed_at)
        failures.labels(source).inc(stamp.failures_total)
        seeded.labels(source).set(int(memory.seeded))
        addresses.labels(source, "v4").set(memory.installed.address_count("v4"))
        for family in FAMILIES:
            prefixes.labels(source, family).set(len(memory.installed.cidrs(family)))
        if memory.candidate:
            held.labels(source, memory.candidate.reason).set(1)


def _add_targets(registry: CollectorRegistry, report: RunReport, store: StateStore) -> None:
    in_sync = _gauge(registry, "ipranges_target_in_sync", "1 if the target holds what it should", "target")
    applied = _gauge(
        registry, "ipranges_target_last_apply_timestamp_seconds", "Last time that it was changed", "target"
    )
    for result in report.targets:
        in_sync.labels(result.name).set(int(result.outcome in _IN_SYNC))
        record = store.load_target(result.name)
        applied.labels(result.name).set(record.applied_at if record else 0)


def _gauge(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, **_of(registry))


def _of(registry: CollectorRegistry) -> dict[str, Any]:
    """The keyword by which a metric belongs to it, and not to the whole process."""
    return {"registry": registry}
