"""The measurements of `make bench` that need no server run, and tell a figure that does not hold from one that does.

What they find is not judged here: a test machine is busy.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import logins, sessions


@pytest.fixture(scope="module")
def among_sessions() -> list[dict[str, Any]]:
    return sessions.measure_sessions(1, many=40, checks=40, groups=2)


@pytest.fixture(scope="module")
def of_logins() -> dict[str, Any]:
    return logins.measure_logins(1, logins=2, of_each=3)


def test_checks_are_measured_among_few_and_among_many_sessions(among_sessions: list[dict[str, Any]]) -> None:
    assert [line["case"] for line in among_sessions] == ["remembered", "first", "look_up"]
    assert all(line["few"] == 10 and line["many"] == 40 for line in among_sessions)
    assert all(line["few_us"] > 0 and line["many_us"] > 0 for line in among_sessions)
    assert json.loads(json.dumps(among_sessions)) == among_sessions


@pytest.mark.parametrize("case", ["remembered", "first"])
def test_a_check_that_costs_more_among_many_does_not_hold(case: str, among_sessions: list[dict[str, Any]]) -> None:
    line = next(line for line in among_sessions if line["case"] == case)
    assert sessions.holds(line | {"ratio": 1.05})
    assert not sessions.holds(line | {"ratio": 1.051})


def test_every_measurement_among_sessions_is_a_line(among_sessions: list[dict[str, Any]]) -> None:
    assert all(line["what"] in sessions.render_line(line) for line in among_sessions)


def test_logins_are_measured_alone_and_together(of_logins: dict[str, Any]) -> None:
    assert of_logins["cpu_ms"] > 0
    assert of_logins["tried"] == 6
    assert json.loads(json.dumps(of_logins)) == of_logins
    assert f"{of_logins['cpu_ms']} ms" in logins.render_line(of_logins)


@pytest.mark.parametrize("worse", [{"cpu_ms": 15.1}, {"per_second": 199}, {"failed": 1}])
def test_logins_that_are_dear_or_few_or_fail_do_not_hold(worse: dict[str, Any], of_logins: dict[str, Any]) -> None:
    good = of_logins | {"cpu_ms": 15.0, "per_second": 200, "failed": 0}
    assert logins.holds(good)
    assert not logins.holds(good | worse)
