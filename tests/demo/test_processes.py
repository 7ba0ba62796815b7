"""Whatever happens to one part, no part outlives the supervisor's block."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo import processes
from tests.demo.processes import Part, StoppedError, Supervisor
from tests.demo.settings import DemoError
from tests.demo.test_leftovers import ended_soon

SLEEPER = "import os, pathlib, time; pathlib.Path({path!r}).write_text(str(os.getpid())); time.sleep(60)"


@pytest.fixture(autouse=True)
def keep_signal_handlers() -> Iterator[None]:
    """The supervisor takes the process' signals; pytest wants its own back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def python_part(directory: Path, name: str, code: str, *, ready_file: Path | None = None) -> Part:
    return Part(
        name=name,
        command=(sys.executable, "-c", code),
        log=directory / f"{name}.log",
        is_ready=(ready_file or Path("/nonexistent")).exists,
    )


def sleeper(directory: Path, name: str = "sleeper") -> tuple[Part, Path]:
    pid_file = directory / f"{name}.pid"
    return python_part(directory, name, SLEEPER.format(path=str(pid_file)), ready_file=pid_file), pid_file


def test_a_part_that_fails_is_named_with_the_end_of_its_log_and_the_others_end(tmp_path: Path) -> None:
    good, pid_file = sleeper(tmp_path)
    bad = python_part(tmp_path, "authd", "print('line 3: team_domain: missing'); raise SystemExit(7)")
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(good)
        with pytest.raises(DemoError) as caught:
            supervisor.start(bad)
    assert "authd did not start (exit code 7)" in str(caught.value)
    assert "line 3: team_domain: missing" in str(caught.value)
    assert ended_soon(int(pid_file.read_text()))


def test_a_part_that_never_gets_ready_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_SECONDS", 0.2)
    part = python_part(tmp_path, "nginx", "import time; time.sleep(60)")
    with pytest.raises(DemoError, match="nginx was not ready within"), Supervisor(tmp_path) as supervisor:
        supervisor.start(part)


def test_a_part_that_ends_by_itself_ends_the_demonstration(tmp_path: Path) -> None:
    good, pid_file = sleeper(tmp_path)
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(good)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        with pytest.raises(DemoError, match="sleeper ended by itself"):
            supervisor.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_wait_and_then_every_part(tmp_path: Path, number: signal.Signals) -> None:
    parts = [sleeper(tmp_path, "one"), sleeper(tmp_path, "two")]
    with Supervisor(tmp_path) as supervisor:
        for part, _ in parts:
            supervisor.start(part)
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        supervisor.wait()
    assert all(ended_soon(int(pid_file.read_text())) for _, pid_file in parts)
    assert list(tmp_path.glob("*.process")) == []


def test_a_signal_while_a_part_starts_ends_what_was_started(tmp_path: Path) -> None:
    never_ready = python_part(tmp_path, "authd", "import time; time.sleep(60)")
    with Supervisor(tmp_path) as supervisor:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(StoppedError):
            supervisor.start(never_ready)
        with pytest.raises(StoppedError):
            supervisor.start(never_ready)


def test_a_part_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    pid_file = tmp_path / "stubborn.pid"
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER.format(path=str(pid_file))
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(python_part(tmp_path, "stubborn", code, ready_file=pid_file))
    assert ended_soon(int(pid_file.read_text()))
