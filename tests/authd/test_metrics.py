"""The metrics: counted in dictionaries, and the same figures in the end as prometheus-client's own way gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from authd.metrics import _DECISION_BUCKETS, Metrics

SECONDS = [0.0, 0.000009, 0.00001, 0.000011, 0.00004, 0.002, 0.002, 0.7, 3.0]


def histogram_lines(text: bytes, name: str) -> list[str]:
    lines = text.decode().splitlines()
    return [line for line in lines if line.startswith((f"{name}_bucket", f"{name}_count", f"{name}_sum"))]


def test_durations_are_counted_as_the_library_itself_counts_them() -> None:
    registry = CollectorRegistry()
    apart: dict[str, Any] = {"registry": registry}
    theirs = Histogram("authd_decision_seconds", "Time", buckets=_DECISION_BUCKETS, **apart)
    ours = Metrics()
    for seconds in SECONDS:
        theirs.observe(seconds)
        ours.count_decision("grafana", "allow", "policy_allow", seconds)
    expected = histogram_lines(generate_latest(registry), "authd_decision_seconds")
    assert histogram_lines(ours.render(), "authd_decision_seconds") == expected
    assert len(expected) == len(_DECISION_BUCKETS) + 3


def test_decisions_have_application_outcome_and_reason() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.count_decision("grafana", "deny", "policy_deny", 0.001)
    line = 'authd_decisions_total{app="grafana",outcome="deny",reason="policy_deny"} 3.0'
    assert line in metrics.render().decode().splitlines()
    assert line in metrics.render().decode().splitlines(), "asking twice counts nothing twice"


def test_gauges_say_what_they_were_told() -> None:
    metrics = Metrics()
    metrics.set_store_up(False)
    metrics.set_signing_key_age(12.0)
    metrics.set_reload_successful(False)
    lines = metrics.render().decode().splitlines()
    assert "authd_store_up 0.0" in lines
    assert "authd_signing_key_age_seconds 12.0" in lines
    assert "authd_config_last_reload_successful 0.0" in lines
    assert any(line.startswith('authd_build_info{version="') for line in lines)


def test_the_processes_of_one_authd_add_up(tmp_path: Path) -> None:
    program = """
import sys
from authd.metrics import Metrics
metrics = Metrics()
metrics.count_decision("grafana", "allow", "policy_allow", 0.00002)
metrics.count_login("corp", "success")
metrics.flush()
print(metrics.render().decode())
"""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    texts = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert 'authd_decisions_total{app="grafana",outcome="allow",reason="policy_allow"} 2.0' in texts[1]
    assert 'authd_logins_total{idp="corp",outcome="success"} 2.0' in texts[1]
    assert "authd_decision_seconds_count 2.0" in texts[1]


def test_the_command_line_leaves_the_metrics_to_be_shared() -> None:
    """prometheus_client looks once whether workers share their metrics; imported too early, `/metrics` is empty."""
    program = "import sys, authd.cli; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
