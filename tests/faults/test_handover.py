"""An upgrade under load: the next version takes over the socket while the one before still serves (docs/adr/0111)."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.load import under_load
from tests.faults.visits import wait_until
from tests.harness.stack import Stack, find_children, start_stack

pytestmark = pytest.mark.nginx

RELEASE = """#!{python}
import sys
sys.path.insert(0, {root!r})
import authd
authd.__version__ = {version!r}
print("this is", {version!r}, file=sys.stderr, flush=True)
{first}
from authd.cli import main
main()
"""
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"workers": 2, "decision_cache_seconds": 0}
    with start_stack(tmp_path_factory.mktemp("handover"), settings=settings) as running:
        running.stop_authd()
        yield running


@pytest.fixture(scope="module")
def program(stack: Stack) -> Path:
    """What `/usr/local/bin/authd` is: a link to a script of the version that shall be started."""
    write_release(stack.directory, "1.0")
    link = stack.directory / "program"
    link.symlink_to("authd-1.0")
    return link


def write_release(directory: Path, version: str, *, first: str = "") -> None:
    path = directory / f"authd-{version}"
    path.write_text(RELEASE.format(python=sys.executable, root=ROOT, version=version, first=first))
    path.chmod(0o755)


def switch(program: Path, version: str) -> None:
    beside = program.with_name("beside")
    beside.symlink_to(f"authd-{version}")
    beside.replace(program)


@contextmanager
def serving(stack: Stack, program: Path) -> Iterator[None]:
    with (stack.directory / "authd.log").open("ab") as log:
        command = [str(program), "serve", "--config", str(stack.directory / "authd.yml")]
        stack.authd = subprocess.Popen(command, stderr=log, stdout=log)
    begun = stack.authd
    try:
        wait_until(lambda: len(find_children(main_pid(stack))) == 2 and stack.ask_authd("/readyz") == 200)
        yield
    finally:
        last = main_pid(stack)
        os.kill(last, signal.SIGTERM)
        try:
            # It takes its socket's file away before it is gone, and the next test must not take it for its own.
            wait_until(lambda: is_gone(last))
        finally:
            begun.kill()
            begun.wait()
        socket = Path(stack.config["listen"].removeprefix("unix:"))
        wait_until(lambda: not socket.exists())
        stack.authd = None


def main_pid(stack: Stack) -> int:
    assert stack.authd is not None
    successors = [event["pid"] for event in stack.events("server.handover")]
    living = [pid for pid in successors if not is_gone(pid)]
    return int(living[-1]) if living else stack.authd.pid


def hand_over(stack: Stack) -> None:
    """Ask for it, and wait until the one before is gone."""
    before, done = main_pid(stack), len(stack.events("server.handover"))
    os.kill(before, signal.SIGUSR2)
    wait_until(lambda: len(stack.events("server.handover")) > done)
    wait_until(lambda: is_gone(before))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def version_of(stack: Stack) -> str:
    text = stack.fetch_authd("/metrics")[1].decode()
    (line,) = [line for line in text.splitlines() if line.startswith("authd_build_info{")]
    return line.partition('version="')[2].partition('"')[0]


def test_upgrades_and_a_rollback_under_load_cost_nobody_anything(stack: Stack, program: Path) -> None:
    write_release(stack.directory, "2.0")
    with serving(stack, program):
        alice = stack.log_in(stack.url("grafana.test"), "alice")
        with under_load(lambda: copy.deepcopy(alice), stack.url("grafana.test"), visitors=4) as load:
            for version in ("2.0", "1.0", "2.0"):
                asked = load.count
                wait_until(lambda asked=asked: load.count > asked + 50)
                switch(program, version)
                hand_over(stack)
                assert version_of(stack) == version
            asked = load.count
            wait_until(lambda asked=asked: load.count > asked + 50)
        assert load.statuses.keys() == {200}, load.statuses
        assert stack.log_in(stack.url("wiki.other.example"), "alice", copy.deepcopy(alice))


@pytest.mark.parametrize(
    "first",
    [
        "sys.exit('cannot begin')",
        "import authd.audit; authd.audit.configure_logging = None  # cannot begin",
        "import gunicorn.workers.base; gunicorn.workers.base.Worker.init_process = lambda self: 1 / 0  # cannot begin",
    ],
    ids=["at once", "before it listens", "in its workers"],
)
def test_a_version_that_does_not_start_changes_nothing(stack: Stack, program: Path, first: str) -> None:
    switch(program, "1.0")
    write_release(stack.directory, "3.0", first=first)
    with serving(stack, program):
        alice = stack.log_in(stack.url("grafana.test"), "alice")
        before, workers = main_pid(stack), find_children(main_pid(stack))
        with under_load(lambda: copy.deepcopy(alice), stack.url("grafana.test"), visitors=2) as load:
            switch(program, "3.0")
            tries = stack.log_text.count("this is 3.0")
            os.kill(before, signal.SIGUSR2)
            wait_until(lambda: stack.log_text.count("this is 3.0") > tries)
            wait_until(lambda: sorted(find_children(before)) == sorted(workers))
            asked = load.count
            wait_until(lambda: load.count > asked + 30)
        assert load.statuses.keys() == {200}, load.statuses
        assert version_of(stack) == "1.0"
        switch(program, "1.0")
        hand_over(stack)


def test_another_socket_needs_a_restart(stack: Stack, program: Path) -> None:
    switch(program, "1.0")
    with serving(stack, program):
        listen = stack.config["listen"]
        stack.write_config(listen=f"{listen}.other")
        try:
            os.kill(main_pid(stack), signal.SIGUSR2)
            wait_until(lambda: "listen was changed, which needs a restart" in stack.log_text)
            wait_until(lambda: len(find_children(main_pid(stack))) == 2)
        finally:
            stack.write_config(listen=listen)
        assert stack.ask_authd("/readyz") == 200
        hand_over(stack)
