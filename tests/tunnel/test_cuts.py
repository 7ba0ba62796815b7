"""Links that are cut, in three ways, for 3, 15 and 60 seconds: the tunnel is back in under ten after they are."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.tunnel.lab import EDGE, ORIGIN, Lab, start_connector, wait_until

MOST_SECONDS = 10.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        ("drop", 3),
        ("link", 3),
        ("reset", 3),
        ("drop", 15),
        ("link", 15),
        ("reset", 15),
        pytest.param("drop", 60, marks=pytest.mark.long_cut),
        pytest.param("link", 60, marks=pytest.mark.long_cut),
        pytest.param("reset", 60, marks=pytest.mark.long_cut),
    ],
)
def test_the_tunnel_is_back(how: str, seconds: int, lab: Lab, record_property: pytest.RecordProperty) -> None:
    assert lab.get() == "app1"
    with lab.cut(ORIGIN, how=how):
        until = time.monotonic() + seconds
        asked = []
        while time.monotonic() < until:
            # Requests go on arriving, which is what keeps sshd from noticing.
            asked.append(lab.get(seconds=1))
            time.sleep(0.1)
        assert asked[-1] != "app1"
    took = wait_until(lambda: lab.get(seconds=1) == "app1", seconds=MOST_SECONDS)
    record_property(f"{how}-{seconds}", round(took, 1))
    print(f"{how} for {seconds} s: back after {took:.1f} s")
    wait_until(lambda: lab.status()["app1"]["connections"] == 4, seconds=20)


def test_one_connection_that_dies_costs_no_request(lab: Lab) -> None:
    answers: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answers.append(lab.get())

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    os.kill(find_connector(lab, "edge1-2"), signal.SIGKILL)
    time.sleep(2)
    done.set()
    thread.join()
    assert len(answers) > 10
    assert set(answers) == {"app1"}


def find_connector(lab: Lab, instance: str) -> int:
    """The process number of the ssh that the unit of this instance runs."""
    for pid in subprocess.run(
        ["ip", "netns", "pids", lab.name(ORIGIN)], capture_output=True, text=True, check=True
    ).stdout.split():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"ssh") and instance.encode() in words:
            return int(pid)
    raise AssertionError(f"no connector {instance}")


def test_another_session_that_takes_the_socket_is_no_outage(lab: Lab) -> None:
    """The same origin once more on socket 1, as after an origin was cloned: the thief leaves, the rest serve."""
    thief = start_connector(lab, ORIGIN, "app1", 1)
    time.sleep(1.5)
    lab.stop(thief)
    assert {lab.get() for _ in range(8)} == {"app1"}
    assert lab.run(EDGE, "true").returncode == 0
