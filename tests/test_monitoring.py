"""The alert rules and the dashboard ask for metrics that authd really has, with labels that those really carry."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from authd.metrics import Metrics
from authd.model import Outcome
from authd.tunnel.status import OriginStatus, Status, render_status, render_tunnel_metrics

ROOT = Path(__file__).parents[1]
RULES = yaml.safe_load((ROOT / "docs/monitoring/alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "docs/monitoring/dashboard.json").read_text())
OUTCOMES_OF_LOGINS = {"success", "denied", "failed", "limited", "unavailable", "sent", "not_sent"}
OF_PROMETHEUS = {"instance", "job", "le"}


@pytest.fixture(scope="module")
def labels_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric, as /metrics shows them after one of everything happened."""
    metrics = Metrics()
    metrics.count_decision("wiki", "allow", "policy_allow", 0.001)
    metrics.count_login("corp", "success")
    metrics.count_code_mail("pin", "sent")
    metrics.set_issuer_keys_age("https://edge.example.com", 1.0)
    text = metrics.render().decode() + _tunnel_metrics(tmp_path_factory.mktemp("tunnel"))
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples}


def _tunnel_metrics(directory: Path) -> str:
    """Of a watch that has just written that an origin is connected."""
    path = directory / "status.json"
    origin = OriginStatus("wiki", "openssh", 4, connections=1, since=1.0, addresses=("192.0.2.1",), sockets=("1.sock",))
    path.write_text(render_status(Status(time.time(), "edge1", (origin,))))
    return render_tunnel_metrics(path, time.time()).decode()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_asks_for_what_there_is(rule: dict[str, Any], labels_of: dict[str, set[str]]) -> None:
    expression = rule["expr"]
    known, grouped = _labels(expression, labels_of)
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert shown <= (grouped if " by (" in expression else known)
    assert rule["labels"]["severity"] in ("critical", "warning")


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_every_panel_asks_for_what_there_is(panel: dict[str, Any], labels_of: dict[str, set[str]]) -> None:
    (target,) = panel["targets"]
    _, grouped = _labels(target["expr"], labels_of)
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= grouped - {"le"}


def _labels(expression: str, labels_of: dict[str, set[str]]) -> tuple[set[str], set[str]]:
    """The labels that its metrics carry, and those it groups by; fails where it asks for any other."""
    names = set(re.findall(r"\bauthd_\w+", expression))
    assert names <= set(labels_of)
    known = OF_PROMETHEUS.union(*(labels_of[name] for name in names))
    grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")}
    selected = set(re.findall(r"[{,]\s*(\w+)(?:=~|!=|=)", expression))
    assert grouped | selected <= known
    values = {value for said in re.findall(r'outcome=~?"([^"]*)"', expression) for value in said.split("|")}
    assert values <= (set(Outcome) if "authd_decisions" in expression else OUTCOMES_OF_LOGINS)
    return known, grouped
