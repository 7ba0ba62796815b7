"""A demonstration that was killed is cleaned up by the next one, which harms no stranger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.leftovers import end_leftovers, kill_group, only_one, remember
from tests.demo.settings import DemoError

# A leader with a child, as gunicorn and nginx are; prints the child's process id when both run.
LEADER = "import os, time; child = os.fork(); child and print(child, flush=True); time.sleep(60)"


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", LEADER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process
        kill_group(process.pid)


def read_child(leader: subprocess.Popen[str]) -> int:
    assert leader.stdout is not None
    return int(leader.stdout.readline())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended_soon(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


def test_a_leader_and_its_child_are_ended(tmp_path: Path, leader: subprocess.Popen[str]) -> None:
    child = read_child(leader)
    remember(tmp_path, "nginx", leader.pid)
    assert end_leftovers(tmp_path) == ["nginx"]
    assert leader.wait(5) == -signal.SIGTERM
    assert ended_soon(child)
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_outlived_its_leader_is_ended(tmp_path: Path, leader: subprocess.Popen[str]) -> None:
    child = read_child(leader)
    remember(tmp_path, "nginx", leader.pid)
    leader.kill()
    leader.wait()
    assert is_running(child)
    assert end_leftovers(tmp_path) == ["nginx"]
    assert ended_soon(child)


def test_a_stranger_with_a_number_that_was_used_again_is_left_alone(
    tmp_path: Path, leader: subprocess.Popen[str]
) -> None:
    read_child(leader)
    (tmp_path / "nginx.process").write_text(f"{leader.pid} 12345")
    assert end_leftovers(tmp_path) == []
    assert is_running(leader.pid)


def test_a_record_of_what_ended_long_ago_is_forgotten(tmp_path: Path, leader: subprocess.Popen[str]) -> None:
    read_child(leader)
    remember(tmp_path, "nginx", leader.pid)
    kill_group(leader.pid)
    leader.wait()
    time.sleep(0.05)
    end_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_one_demonstration_runs_in_a_directory(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(DemoError, match=f"process {os.getpid()}"), only_one(tmp_path):
        pytest.fail("two at once")
    with only_one(tmp_path):
        pass
