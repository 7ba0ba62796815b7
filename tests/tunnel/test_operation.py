"""Replicas, revoking, and what the edge tells: with real connections."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from authd.tunnel.status import render_tunnel_metrics
from tests.tunnel.lab import EDGE, ORIGIN, SECOND, Lab, wait_until


def test_the_edge_tells_who_is_connected_since_when_and_from_where(replicas: Lab) -> None:
    wait_until(lambda: all(each["connections"] == 4 for each in replicas.status().values()), seconds=20)
    told = replicas.status()
    assert {name: each["addresses"] for name, each in told.items()} == {
        "app1": [replicas.address(ORIGIN)],
        "app2": [replicas.address(SECOND)],
    }
    assert all(0 < time.time() - float(str(each["since"])) < 120 for each in told.values())
    metrics = render_tunnel_metrics(replicas.run_directory / "status.json", time.time()).decode()
    assert 'authd_tunnel_connections{origin="app1"} 4.0' in metrics
    assert 'authd_tunnel_connected_since_seconds{origin="app2"}' in metrics
    assert "authd_tunnel_watch_up 1.0" in metrics


def test_the_status_is_out_of_the_origins_reach(replicas: Lab) -> None:
    path = replicas.run_directory / "status.json"
    assert (path.stat().st_uid, path.stat().st_mode & 0o022) == (0, 0)
    for each in (path.parent, *path.parent.glob("tun-*")):
        assert (each.stat().st_uid, each.stat().st_mode & 0o022) == (0, 0)


def test_a_silent_replica_costs_a_stall_and_no_request(replicas: Lab) -> None:
    answers: list[tuple[str, float]] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            began = time.monotonic()
            answers.append((replicas.get(seconds=20), time.monotonic() - began))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    with replicas.cut(ORIGIN):
        time.sleep(8)
        settled = len(answers)
        time.sleep(2)
        late = answers[settled:]
    done.set()
    for thread in threads:
        thread.join()
    failed = [each for each in answers if each[0] not in ("app1", "app2")]
    assert not failed, f"{failed[:9]} of {len(answers)}\n{explain(replicas)}"
    assert late, "nobody served while one replica was silent"
    assert {answer for answer, _ in late} == {"app2"}
    assert max(seconds for _, seconds in answers) < 8
    wait_until(lambda: {replicas.get() for _ in range(8)} == {"app1", "app2"}, seconds=20)


def test_revoking_ends_the_connections_within_seconds_and_for_good(replicas: Lab) -> None:
    # The test before cut them, and sshd waits a while before it takes the next attempts of one address.
    wait_until(lambda: all(each["connections"] == 4 for each in replicas.status().values()), seconds=30)
    began = time.monotonic()
    done = replicas.authd("revoke", "app1", *replicas.directories())
    assert "app1: revoked" in done.stdout
    assert time.monotonic() - began < 20
    assert {replicas.get() for _ in range(8)} == {"app2"}, explain(replicas)
    # The origin tries again every two seconds.
    time.sleep(4)
    assert {replicas.get() for _ in range(8)} == {"app2"}, explain(replicas)
    assert "app1" not in replicas.status()
    assert sessions_of(replicas, "tun-app1") == []
    assert "Permission denied" in (replicas.directory / "connector-app1-1.log").read_text()


def test_a_key_that_was_removed_by_hand_is_cut_by_the_watch(replicas: Lab) -> None:
    (replicas.edge / "keys/tun-app2").unlink()
    wait_until(lambda: sessions_of(replicas, "tun-app2") == [], seconds=5)
    wait_until(lambda: replicas.status()["app2"]["connections"] == 0, seconds=5)


def test_a_watch_that_stopped_is_told_and_its_last_word_is_not_repeated(tmp_path: Path, replicas: Lab) -> None:
    text = (replicas.run_directory / "status.json").read_text()
    (tmp_path / "status.json").write_text(text)
    metrics = render_tunnel_metrics(tmp_path / "status.json", time.time() + 60).decode()
    assert "authd_tunnel_watch_up 0.0" in metrics
    assert "authd_tunnel_connections{" not in metrics


def explain(lab: Lab) -> str:
    """What the edge tells, and what the connectors said last: why all connections of a replica were gone."""
    logs = sorted(lab.directory.glob("connector-*.log"))
    ends = [f"{path.name}: " + " | ".join(path.read_text().splitlines()[-4:]) for path in logs]
    return "\n".join([str(lab.status()), *ends])


def sessions_of(lab: Lab, user: str) -> list[str]:
    found = lab.run(EDGE, "sh", "-c", f"ps -o pid= -u {user}", check=False).stdout.split()
    return [pid for pid in found if os.path.exists(f"/proc/{pid}")]
