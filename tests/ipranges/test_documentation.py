"""The documentation names every setting, exit code, outcome that matters and metric that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ipranges.config.schema import Config, Guards, Removal, Stale
from ipranges.config.sources import SOURCE_TYPES, SourceConfig
from ipranges.config.targets import TARGET_KINDS, TARGET_TYPES
from ipranges.errors import ExitCode
from ipranges.metrics import render_metrics
from ipranges.report.advice import find_advice
from ipranges.sources.build import build_provider
from tests.ipranges.world import World

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "ipranges.md").read_text()
MODELS = (Config, Guards, Removal, Stale, SourceConfig, *TARGET_KINDS)
KEYS = {field.alias or name for model in MODELS for name, field in model.model_fields.items()}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_setting_is_documented(key: str) -> None:
    assert re.search(rf"`{key}[`:]|\b{key}: ", TEXT), key


@pytest.mark.parametrize("name", [*SOURCE_TYPES, *TARGET_TYPES])
def test_every_kind_of_source_and_target_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    assert re.search(rf"^\| {int(code)} \|", TEXT, re.MULTILINE)


def test_every_metric_is_documented(world: World) -> None:
    metrics = render_metrics(world.config, world.sync(), world.store).decode()
    names = set(re.findall(r"^# HELP (\S+)", metrics, re.MULTILINE))
    assert len(names) > 10
    assert {name for name in names if name not in TEXT} == set()


def test_the_lockdown_page_says_plainly_that_addresses_are_layer_one_of_two() -> None:
    page = (ROOT / "docs" / "origin-lockdown.md").read_text()
    assert "layer one of two" in page.splitlines()[0]
    assert "Every customer of" in page


def test_traps_that_a_configuration_is_close_to_are_told(world: World) -> None:
    world.sources += [{"name": "fastly", "retries": 0}, {"name": "own", "type": "static", "cidrs": ["10.0.0.0/16"]}]
    path = str(world.directory / "x")
    world.targets = [
        {"type": "nginx-allow", "path": f"{path}1", "sources": ["own"]},
        {"type": "nginx-realip", "path": f"{path}2", "sources": ["cloudflare", "fastly", "own"], "name": "realip"},
        {"type": "ufw", "ports": [443], "sources": ["own"], "name": "old"},
    ]
    told = find_advice(world.config)
    assert len(told) == 4
    assert told[2].startswith("realip: cloudflare and fastly share one header")
    world.targets = [{"type": "nginx-geo", "path": f"{path}1", "sources": ["cloudflare", "fastly"]}]
    assert find_advice(world.config) == []


def test_an_override_of_a_built_in_source_keeps_its_limits(world: World) -> None:
    provider = build_provider(world.config.sources[0])
    assert provider.limits.min_prefix_v4 == 12
    assert [attempt.urls for attempt in provider.attempts] == [(world.server.url("/client/v4/ips"),)]
