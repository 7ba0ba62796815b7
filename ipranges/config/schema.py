"""The whole configuration file as a value."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ipranges.config.fields import AbsolutePath, Command, Count, Model, Network
from ipranges.config.sources import SourceConfig
from ipranges.config.targets import TargetConfig


class Guards(Model):
    """How far one edition may differ from the last accepted one, as shares of the last one's addresses.

    Calibrated on real changes (docs/ipranges.md): Cloudflare 2021 retained 0.853; Fastly 2020 to 2024
    retained 0.886; CloudFront's IPv6 grew by 1.2; Akamai 2024 retained 0.488, which a person must see.
    """

    min_retained: Annotated[float, Field(ge=0, le=1)] = 0.75
    max_growth_v4: Annotated[float, Field(ge=0)] = 0.5
    max_growth_v6: Annotated[float, Field(ge=0)] = 3.0


class Removal(Model):
    """When a range that is no longer published leaves the targets: seen missing so often, for so long."""

    sightings: Count = 3
    min_hours: Annotated[int, Field(strict=True, ge=0)] = 24
    max_days: Count = 7


class Stale(Model):
    """From which age of the last good answer on somebody has to look."""

    warn_days: Count = 3
    critical_days: Count = 14


class Config(Model):
    """One file, whole. Paths are absolute."""

    state_dir: AbsolutePath = "/var/lib/ipranges"
    metrics: AbsolutePath | None = None
    always_allow: tuple[Network, ...] = ()
    sources: Annotated[tuple[SourceConfig, ...], Field(min_length=1)]
    targets: Annotated[tuple[TargetConfig, ...], Field(min_length=1)]
    guards: Guards = Guards()
    removal: Removal = Removal()
    stale: Stale = Stale()
    on_change: Command = ()
    keep_generations: Annotated[int, Field(strict=True, ge=2, le=1000)] = 50

    def get_source(self, name: str) -> SourceConfig:
        """The source of that name; raises KeyError."""
        return next(source for source in self.sources if source.name == name)
