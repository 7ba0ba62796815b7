"""The measurements of `make bench` run, and tell a figure that does not hold from one that does.

What they find is not judged here: a test machine is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from bench import disturbances, index, latency, logins, memory, sessions, through_nginx
from bench.cores import keep_apart
from bench.installation import HOST, Installation, run_installation
from bench.load import CONNECTIONS, PATH, Load, run_wrk, write_requests_in_turn
from bench.rate import WARM_UP_SECONDS, run_at_rate


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


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with run_installation(tmp_path_factory.mktemp("bench") / "small", applications=12, sessions=4) as running:
        yield running


@pytest.mark.nginx
def test_an_installation_has_each_case_behind_a_port_of_its_own(installation: Installation) -> None:
    def ask(port: int, cookie: str = "") -> int:
        headers = {"Host": HOST} | ({"Cookie": cookie} if cookie else {})
        answer = requests.get(f"http://127.0.0.1:{port}/d/abc", headers=headers, allow_redirects=False, timeout=20)
        return answer.status_code

    assert len(set(installation.tokens)) == 4
    assert [ask(installation.plain_port), ask(installation.floor_port)] == [200, 200]
    assert ask(installation.port) == 302
    assert {ask(installation.port, f"CF_AUTHORIZATION={token}") for token in installation.tokens} == {200}


@pytest.mark.nginx
@pytest.mark.skipif(not shutil.which("wrk"), reason="`make bench` installs wrk")
def test_the_generator_asks_in_turn_and_counts_refusals(installation: Installation, tmp_path: Path) -> None:
    visitors = [(PATH, f"CF_AUTHORIZATION={token}") for token in installation.tokens]
    good = write_requests_in_turn(tmp_path, "good", HOST, visitors)
    mixed = write_requests_in_turn(tmp_path, "mixed", HOST, [*visitors, (PATH, "CF_AUTHORIZATION=x")])
    assert run_wrk(installation.port, host=HOST, seconds=1, script=good).errors == 0
    refused = run_wrk(installation.port, host=HOST, seconds=1, script=mixed)
    assert refused.errors == pytest.approx(refused.requests / 5, abs=2 * CONNECTIONS)


@pytest.mark.nginx
def test_a_constant_rate_is_kept_and_each_answer_is_timed(installation: Installation) -> None:
    began = time.monotonic()
    taken = run_at_rate(installation.port, host=HOST, per_second=64, seconds=2, cookie=installation.cookie)
    assert 127 / 64 + WARM_UP_SECONDS <= time.monotonic() - began < 10
    assert taken == sorted(taken)
    assert len(taken) == 128
    with pytest.raises(RuntimeError, match="refused"):
        run_at_rate(installation.port, host=HOST, per_second=64, seconds=2, cookie="CF_AUTHORIZATION=x")


@pytest.mark.parametrize("closes", [False, True])
def test_what_waits_for_a_free_connection_counts_from_its_turn(closes: bool) -> None:
    """A server that takes 20 ms for each of 32 connections cannot keep up with twice the rate that they allow."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                requests += 1
                await asyncio.sleep(0.02)
                # In two pieces, as a busy server may.
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"Connection: close\r\n" * closes + b"\r\no")
                await asyncio.sleep(0)
                writer.write(b"k")
                if closes:
                    break
        writer.close()

    async def measure() -> list[int]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            twice = 2 * CONNECTIONS / 0.02
            return await asyncio.to_thread(run_at_rate, port, host=HOST, per_second=twice, seconds=1, cookie="")

    taken = asyncio.run(measure())

    assert len(taken) == 2 * CONNECTIONS / 0.02
    assert requests == len(taken) * (1 + WARM_UP_SECONDS)
    assert taken[0] >= 19_000
    # At the end half of them wait: the last one for as long as the load should have taken.
    assert taken[-1] > 500_000


def test_ratios_are_those_within_a_round() -> None:
    cases = [
        through_nginx.Case("unprotected", "no protection", _never),
        through_nginx.Case("hot", "hot page", _never, "unprotected", least=0.65, aim=0.8),
    ]
    rounds = [
        {"unprotected": 100.0, "hot": 50.0},
        {"unprotected": 10.0, "hot": 7.0},
        {"unprotected": 100.0, "hot": 66.0},
    ]
    plain, hot = through_nginx.summarise(rounds, cases)
    assert (hot["ratio"], hot["spread"], hot["requests_per_second"]) == (0.66, [0.5, 0.7], 50)
    assert through_nginx.holds(plain)
    assert through_nginx.holds(hot)
    assert not through_nginx.holds(hot | {"ratio": 0.649})
    assert through_nginx.render_row(hot) == "| hot page | 50 | 0.66 [0.50 to 0.70] of unprotected | 0.65 | 0.80 |"


def test_what_a_check_adds_is_a_difference_within_a_pair() -> None:
    pairs = [
        {"plain": [100] * 99 + [900], "protected": [300] * 99 + [1_000]},
        {"plain": [100] * 99 + [100], "protected": [200] * 99 + [700]},
        {"plain": [100] * 99 + [100], "protected": [250] * 99 + [400]},
    ]
    line = latency._summarise("cached", 1000.0, pairs)
    assert line["added_us"] == {"50": 150, "99": 300, "99.9": 300}
    assert line["spread_p99_us"] == [100, 600]
    assert latency.holds(line)
    assert not latency.holds(line | {"added_us": {"99": 1_001}})
    assert latency.holds(line | {"case": "uncached", "added_us": {"99": 1_001}})
    assert "p99 +300 µs" in latency.render_line(line)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="one core cannot be shared out")
def test_the_generator_has_a_core_of_its_own_while_it_measures() -> None:
    """Whatever it has started runs on the others, and what that started."""
    before = os.sched_getaffinity(0)
    waits = ["sh", "-c", "sleep 60 & echo $!; wait"]
    with subprocess.Popen(waits, stdout=subprocess.PIPE, text=True, process_group=0) as shell:
        assert shell.stdout is not None
        pids = shell.pid, int(shell.stdout.readline())
        try:
            with keep_apart():
                mine = os.sched_getaffinity(0)
                assert len(mine) == 1
                assert [os.sched_getaffinity(pid) for pid in pids] == [before - mine] * 2
            assert [os.sched_getaffinity(pid) for pid in (0, *pids)] == [before] * 3
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_memory_index_and_disturbances_have_limits() -> None:
    assert memory.holds({"after_mb": 150})
    assert not memory.holds({"after_mb": 151})
    good = {"load_seconds": 3.0, "ratio": 1.2, "worker_mb": 150}
    assert index.holds(good)
    assert not any(index.holds(good | worse) for worse in ({"load_seconds": 3.1}, {"ratio": 1.21}, {"worker_mb": 151}))
    assert disturbances.holds({"failed": 0})
    assert not disturbances.holds({"failed": 1})


def _never(seconds: int) -> Load:
    raise AssertionError("nothing is measured here")
