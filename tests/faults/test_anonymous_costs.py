"""What visitors cost who bring nothing: no row, no read of the store, no memory, and few lines in the log."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.visits import wait_until
from tests.harness.browser import Browser
from tests.harness.stack import Stack, find_children, start_stack

pytestmark = pytest.mark.nginx
HOST = "grafana.test"
REQUESTS = 100_000
CONNECTIONS = 16


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worker writes each call to its store."""
    return tmp_path_factory.mktemp("calls") / "calls"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, calls: Path) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AUTHD_STORE_CALLS", str(calls))
        program = ("tests.faults.serve_with_counted_store",)
        settings = {"decision_cache_seconds": 0}
        with start_stack(tmp_path_factory.mktemp("anonymous"), settings=settings, program=program) as running:
            yield running


def count_calls(calls: Path) -> Counter[str]:
    """The calls so far that somebody's request caused: the upkeep's own are no visitor's."""
    return Counter(calls.read_text().split()) if calls.exists() else Counter()


def test_a_stranger_costs_no_call_to_the_store(stack: Stack, calls: Path) -> None:
    before = count_calls(calls)
    forged = Browser(stack.port, {HOST: {"CF_AUTHORIZATION": "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"}})
    for browser in (stack.browser(), forged):
        assert browser.request(stack.url(HOST)).status == 302
        assert browser.request(stack.url(HOST), headers=[("Accept", "application/json")]).status == 401
        assert browser.request(stack.url(HOST, "/cdn-cgi/access/get-identity")).status == 401
        assert browser.visit(stack.url(HOST), stop_at=stack.provider.issuer).status == 302
        assert browser.request(stack.url("auth.test", "/cdn-cgi/access/callback?code=a&state=b.c")).status == 400
        assert browser.request(stack.url("auth.test", "/")).status == 200
    assert count_calls(calls) == before


def test_a_remembered_session_costs_no_call_to_the_store(stack: Stack, calls: Path) -> None:
    alice = stack.log_in(stack.url(HOST), "alice")
    before = count_calls(calls)
    assert {alice.request(stack.url(HOST)).status for _ in range(50)} == {200}
    assert count_calls(calls) == before
    assert before["find"] + before["put"] > 0, "the calls are counted at all"


@pytest.mark.slow
def test_a_hundred_thousand_strangers_leave_nothing_behind(stack: Stack, calls: Path) -> None:
    """Pages with a path of their own each, so that no cache answers."""
    assert stack.authd is not None
    (worker,) = find_children(stack.authd.pid)
    flood(stack, 5_000)  # what every worker keeps, such as compiled patterns
    rows, memory, written = count_rows(stack), resident_bytes(worker), count_calls(calls)
    log_bytes = (stack.directory / "authd.log").stat().st_size
    assert flood(stack, REQUESTS) == REQUESTS
    assert find_children(stack.authd.pid) == [worker]
    # Fewer where something has expired meanwhile and was swept.
    assert count_rows(stack) <= rows
    assert count_calls(calls) == written
    assert resident_bytes(worker) - memory < 16 * 1024 * 1024
    assert stack.application.seen == [] or all("flood" not in each.target for each in stack.application.seen)
    # 50 lines a second at most; the rest is counted, with the first line of a later second.
    wait_until(lambda: stack.browser().request(stack.url(HOST)).status == 302 and count_told(stack) >= REQUESTS)
    assert (stack.directory / "authd.log").stat().st_size - log_bytes < 100 * REQUESTS


def count_told(stack: Stack) -> int:
    """Decisions that stand in the log, by a line of their own or in a number."""
    left_out = sum(line["count"] for line in stack.events("access.refusals_not_logged"))
    return left_out + len(stack.events("access.decision"))


def count_rows(stack: Stack) -> int:
    program = (
        "import asyncio, pathlib, sys; from authd.state.sqlite import SqliteStore;"
        "print(asyncio.run(SqliteStore(pathlib.Path(sys.argv[1])).size()))"
    )
    path = str(stack.directory / "authd.db")
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True, timeout=30)
    return int(done.stdout)


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def flood(stack: Stack, requests: int) -> int:
    """How many of so many requests got authd's 401, over connections that are kept."""
    command = [sys.executable, "-m", "tests.faults.flood", str(stack.port), HOST, str(requests), str(CONNECTIONS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout)
