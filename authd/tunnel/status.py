"""What the watch last saw: the file that it writes, and the metrics that are made from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authd.errors import TunnelError
from authd.tunnel.origins import RUN_DIRECTORY

if TYPE_CHECKING:
    from prometheus_client.core import Metric

STATUS_FILE = RUN_DIRECTORY / "status.json"
# The watch writes every second. Older than this it has stopped, and nobody knows who is connected.
MAX_AGE_SECONDS = 15.0
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class OriginStatus:
    """One origin as this edge sees it. `since` (Unix seconds) is None and `addresses` empty while it is away."""

    name: str
    engine: str
    wanted: int
    connections: int
    since: float | None
    addresses: tuple[str, ...]
    sockets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """All origins of this edge at one moment (Unix seconds)."""

    written_at: float
    edge: str
    origins: tuple[OriginStatus, ...]


def render_status(status: Status) -> str:
    """The file."""
    return json.dumps(asdict(status)) + "\n"


def parse_status(text: str) -> Status:
    """What `render_status` wrote. Raises ValueError."""
    try:
        read: dict[str, Any] = json.loads(text)
        origins = tuple(
            OriginStatus(**{**each, "addresses": tuple(each["addresses"]), "sockets": tuple(each["sockets"])})
            for each in read["origins"]
        )
        return Status(float(read["written_at"]), str(read["edge"]), origins)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a status of tunnels: {type(error).__name__}") from error


def get_status(path: Path, now: float) -> Status:
    """The status, not older than MAX_AGE_SECONDS. Raises TunnelError that says what is wrong with the watch."""
    start = "systemctl start authd-tunnel-watch"
    try:
        status = parse_status(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise TunnelError(f"nobody watches the tunnels of this edge ({path} is missing): {start}") from error
    except (OSError, ValueError) as error:
        raise TunnelError(f"{path} cannot be read: {error}") from error
    age_seconds = now - status.written_at
    if age_seconds > MAX_AGE_SECONDS:
        raise TunnelError(f"the watch over the tunnels stopped {age_seconds:.0f} seconds ago: {start}")
    return status


def render_tunnel_metrics(path: Path, now: float) -> bytes:
    """The text for Prometheus; empty on a machine without tunnels. Never raises.

    Once the watch has stopped its last word is not repeated: authd_tunnel_watch_up is 0 and the rest is absent.
    """
    if not path.exists():
        return b""
    # Not at the top: `authd serve` names its directory of metrics before anything imports prometheus_client.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily

    # Families and not Gauges: those of a worker would be written into the directory of all workers, and told twice.
    up = GaugeMetricFamily("authd_tunnel_watch_up", "1 if the watch over the tunnels of this edge runs")
    connections = GaugeMetricFamily("authd_tunnel_connections", "Live connections of an origin", labels=("origin",))
    since = GaugeMetricFamily(
        "authd_tunnel_connected_since_seconds",
        "Unix time since when an origin is connected without a gap",
        labels=("origin",),
    )
    try:
        origins = get_status(path, now).origins
        up.add_metric((), 1)
    except TunnelError:
        origins = ()
        up.add_metric((), 0)
    for origin in origins:
        connections.add_metric((origin.name,), origin.connections)
        if origin.since is not None:
            since.add_metric((origin.name,), origin.since)
    registry = CollectorRegistry()
    registry.register(_Families(tuple(family for family in (up, connections, since) if family.samples)))
    return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Families:
    """What a registry of prometheus_client asks for: families that are there already."""

    families: tuple[Metric, ...]

    def collect(self) -> tuple[Metric, ...]:
        return self.families
