"""A small installation: a provider, a configuration, a clock that stands still, a state directory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ipranges.config import Config, parse_config
from ipranges.model import SourceMemory, SourceOutcome, TargetOutcome
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.runtime import Runtime
from ipranges.state import StateStore
from ipranges.sync import RunReport, sync
from tests.ipranges.edge_server import EdgeServer, read_sample

HOUR = 3600
DAY = 24 * HOUR
API = "/client/v4/ips"
CLOUDFLARE = parse_network_set(
    (read_sample("cloudflare-ips-v4.txt") + b"\n" + read_sample("cloudflare-ips-v6.txt")).decode().split()
)


@dataclass
class World:
    """Everything that a run needs, and shortcuts to look at what came of it."""

    directory: Path
    server: EdgeServer
    now: float = 1_795_000_000.0
    sources: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)

    @property
    def list_path(self) -> Path:
        return self.directory / "list.txt"

    @property
    def store(self) -> StateStore:
        return StateStore(self.directory / "state")

    @property
    def runtime(self) -> Runtime:
        return Runtime(clock=lambda: self.now, sleep=self._sleep, environment=self.environment)

    def use_cloudflare(self, **more: Any) -> None:
        """One source, the API of a Cloudflare that this machine plays."""
        self.sources = [{"name": "cloudflare", "url": self.server.url(API), "retries": 0, **more}]
        self.server.serve_sample(API, "cloudflare-api.json")

    def use_text_target(self, *sources: str) -> None:
        names = list(sources) or [source["name"] for source in self.sources]
        self.targets = [{"type": "text", "path": str(self.list_path), "sources": names, "name": "list"}]

    def render_config(self) -> str:
        document = {
            "state_dir": str(self.directory / "state"),
            "sources": self.sources,
            "targets": self.targets,
            **self.settings,
        }
        return yaml.safe_dump(document, sort_keys=False)

    @property
    def config(self) -> Config:
        return parse_config(self.render_config(), source="test.yml")

    def write_config(self) -> Path:
        path = self.directory / "ipranges.yml"
        path.write_text(self.render_config())
        return path

    def sync(self) -> RunReport:
        return sync(self.config, self.runtime)

    def memory(self, name: str = "cloudflare") -> SourceMemory:
        return self.store.load_memory(name)

    def listed(self) -> NetworkSet:
        """What the text target holds."""
        lines = self.list_path.read_text().splitlines()
        return parse_network_set(line for line in lines if not line.startswith("#"))

    def age(self, seconds: float) -> None:
        self.now += seconds

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def outcome_of(report: RunReport, name: str) -> SourceOutcome | TargetOutcome:
    """The outcome of one source or target."""
    return next(r.outcome for r in [*report.sources, *report.targets] if r.name == name)


def message_of(report: RunReport, name: str) -> str:
    """The message of one source or target."""
    return next(r.message for r in [*report.sources, *report.targets] if r.name == name)


def api_body(v4: list[str], v6: list[str], **more: Any) -> bytes:
    """Cloudflare's envelope around other lists."""
    result = {"ipv4_cidrs": v4, "ipv6_cidrs": v6, "etag": "0" * 32}
    document = {"result": result, "success": True, "errors": [], "messages": []}
    return json.dumps(document | more).encode()
