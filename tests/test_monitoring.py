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
from tests.ipranges.namespaces import require_programs, run

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "docs/monitoring/alerts.yml"
RULES = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
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


def test_prometheus_takes_the_rules_and_what_the_dashboard_asks(tmp_path: Path) -> None:
    require_programs("promtool")
    asked = [{"record": f"panel:{panel['id']}", "expr": panel["targets"][0]["expr"]} for panel in DASHBOARD["panels"]]
    panels = tmp_path / "panels.yml"
    panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": asked}]}))
    run("promtool", "check", "rules", str(ALERTS), str(panels))


@pytest.mark.parametrize(
    ("series", "values", "alert"),
    [
        ('up{job="authd"}', "0x10", "AuthdDown"),
        ("authd_store_up", "1 0x10", "AuthdStoreDown"),
        ("authd_config_last_reload_successful", "0x10", "AuthdReloadRefused"),
        ('authd_tunnel_connections{origin="wiki"}', "4 0x10", "AuthdTunnelGone"),
        ("authd_tunnel_watch_up", "0x10", "AuthdTunnelWatchDown"),
    ],
)
def test_an_alert_fires_when_it_should_and_is_silent_before(
    series: str, values: str, alert: str, tmp_path: Path
) -> None:
    require_programs("promtool")
    given = [{"series": series, "values": values}]
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    questions: list[dict[str, Any]] = [
        {"expr": firing, "eval_time": "0m", "exp_samples": []},
        {"expr": firing, "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": 1}]},
    ]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": questions}
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    run("promtool", "test", "rules", str(path))


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
