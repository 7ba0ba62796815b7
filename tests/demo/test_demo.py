"""`make demo` without its set-up: started, used, interrupted, killed, and in the way of others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.nginx import find_free_port

CHECKOUT = Path(__file__).parents[2]
START_SECONDS = 60
PRIVATE_FILES = ("secret", "provider.secret", "server.key", "idp.json")
pytestmark = pytest.mark.nginx


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ports = {"DEMO_PORT": str(find_free_port()), "DEMO_PROVIDER_PORT": str(find_free_port())}
    return {**os.environ, **ports, "DEMO_DIRECTORY": str(tmp_path / "demo")}


def run_demo(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.demo", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=START_SECONDS)


@contextmanager
def running_demo(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The demonstration, once it has said that it is ready."""
    command = [sys.executable, "-m", "tests.demo"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("Ctrl-C"):
                    break
            yield process
        finally:
            process.terminate()


def list_processes(environment: Mapping[str, str]) -> list[str]:
    """The command lines of all processes that were started with this demonstration's directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if environment["DEMO_DIRECTORY"] in command:
            found.append(command)
    return found


def ends_soon(environment: Mapping[str, str]) -> bool:
    deadline = time.monotonic() + 10
    while list_processes(environment) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not list_processes(environment)


def test_the_journey_that_the_page_describes_works(environment: dict[str, str]) -> None:
    done = run_demo(environment, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("demo: ok: ") == 5
    assert list_processes(environment) == []
    directory = Path(environment["DEMO_DIRECTORY"])
    for path in (directory, *(directory / name for name in PRIVATE_FILES)):
        assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"


def test_ctrl_c_ends_it_cleanly_and_leaves_nothing_running(environment: dict[str, str]) -> None:
    with running_demo(environment) as process:
        assert list_processes(environment)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout is not None
        assert process.stdout.read().endswith("demo: everything has ended\n")
    assert list_processes(environment) == []


def test_it_starts_again_over_a_run_that_was_killed(environment: dict[str, str]) -> None:
    with running_demo(environment) as process:
        process.kill()
        process.wait()
        assert list_processes(environment), "nothing was left behind: this test proves nothing"
    again = run_demo(environment, "--check")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "ended nginx, which an earlier run left behind" in again.stdout
    assert ends_soon(environment)


def test_a_second_one_beside_it_is_refused_and_harms_nothing(environment: dict[str, str]) -> None:
    with running_demo(environment) as process:
        second = run_demo(environment)
        assert (second.returncode, process.poll()) == (1, None)
        assert f"running already (process {process.pid})" in second.stderr


@pytest.mark.parametrize("setting", ["DEMO_PORT", "DEMO_PROVIDER_PORT"])
def test_a_taken_port_is_named_before_anything_starts(environment: dict[str, str], setting: str) -> None:
    with socket.create_server(("127.0.0.1", int(environment[setting]))):
        done = run_demo(environment)
    assert done.returncode == 1
    assert f"Port {environment[setting]} is taken by" in done.stderr
    assert f"(process {os.getpid()})" in done.stderr
    assert list_processes(environment) == []


def test_a_part_that_cannot_start_ends_the_others_and_shows_its_log(environment: dict[str, str]) -> None:
    directory = Path(environment["DEMO_DIRECTORY"])
    (directory / "authd.db").mkdir(parents=True)
    done = run_demo(environment)
    assert done.returncode == 1
    assert "authd did not start" in done.stderr
    assert str(directory / "log" / "authd.log") in done.stderr
    assert list_processes(environment) == []
