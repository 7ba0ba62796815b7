"""The lab itself: its machines boot, are apart from each other and from this one, and leave nothing behind."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import cgroups
from tests.lab.machines import Lab, LabError, running_machines, wait_until

_NUMBERS = {"left": 31, "right": 32}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_machines(_NUMBERS, also={"visitor": 30}) as made:
        yield made


def _reaches(lab: Lab, host: str, address: str) -> bool:
    probe = ["timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/22"]
    if host == "visitor":
        return subprocess.run(lab.network.on(host, *probe), capture_output=True, check=False).returncode == 0
    return lab[host].run(*probe, check=False).returncode == 0


def test_a_machine_is_debian_with_systemd_and_a_kernel_s_view_of_its_own(lab: Lab) -> None:
    said = lab["left"].shell("cat /proc/1/comm; uname -n; systemctl is-active ssh; systemctl is-system-running")
    assert said.split() == ["systemd", "left", "active", "running"]
    table = "table inet own { chain input { type filter hook input priority 0; policy accept; }; }"
    lab["left"].run("nft", "-f", "-", text=table)
    assert "table inet own" in lab["left"].run("nft", "list", "ruleset").stdout
    assert "table inet own" not in lab["right"].run("nft", "list", "ruleset").stdout


def test_a_command_that_fails_is_told(lab: Lab) -> None:
    with pytest.raises(LabError, match="no such thing"):
        lab["left"].run("sh", "-c", "echo no such thing >&2; exit 3")


def test_packages_are_installed_without_a_network(lab: Lab) -> None:
    lab["left"].shell("apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy install nginx-light")
    assert lab["left"].run("systemctl", "is-active", "nginx").stdout.strip() == "active"
    assert lab["right"].run("sh", "-c", "command -v nginx", check=False).returncode != 0


def test_what_was_written_survives_a_reboot_and_a_pulled_plug(lab: Lab) -> None:
    machine = lab["right"]
    machine.write("/etc/kept", "once\n")
    before = machine.run("cat", "/etc/machine-id").stdout
    machine.reboot()
    assert machine.run("cat", "/etc/kept").stdout == "once\n"
    machine.pull_plug()
    with pytest.raises(LabError, match="ssh"):
        machine.run("true")
    machine.boot()
    assert machine.run("cat", "/etc/kept").stdout == "once\n"
    assert machine.run("cat", "/etc/machine-id").stdout == before
    assert machine.boots == 3


def test_a_cable_that_is_out_cuts_one_host_off(lab: Lab) -> None:
    left, right = lab["left"].address, lab["right"].address
    assert _reaches(lab, "visitor", left)
    assert _reaches(lab, "left", right)
    began = time.monotonic()
    with lab.network.cut("left", seconds=2):
        assert not _reaches(lab, "visitor", left)
        assert _reaches(lab, "visitor", right)
    assert time.monotonic() - began >= 2
    wait_until(lambda: _reaches(lab, "visitor", left), "the cable is in again")


def test_a_service_may_have_a_clock_that_is_wrong(lab: Lab) -> None:
    machine = lab["left"]
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'date +%%s >/run/told'\n"
    machine.write("/etc/systemd/system/teller.service", unit)
    for seconds in (600, 0):
        machine.set_clock("teller.service", seconds)
        assert abs(int(machine.run("cat", "/run/told").stdout) - time.time() - seconds) < 60


def test_nothing_is_left_behind_even_after_a_failure() -> None:
    seen: list[Lab] = []

    def fail_in_the_middle() -> None:
        with running_machines({"brief": 33}) as lab:
            seen.append(lab)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_in_the_middle()
    name = seen[0].network.namespace("brief")
    assert not seen[0].directory.exists()
    assert str(seen[0].directory) not in Path("/proc/self/mountinfo").read_text()
    assert name not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert not cgroups.list_processes(f"authd-{name}")
    assert not Path(f"/sys/fs/cgroup/systemd/authd-{name}").exists()
