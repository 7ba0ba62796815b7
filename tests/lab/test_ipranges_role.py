"""The role ipranges on a machine that boots: its lists come from a server of the test's own, on the machine itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.lab.machines import Lab, Machine
from tests.lab.playbook import Run, run_roles

LIST = "# the edge\n104.16.0.0/13\n172.64.0.0/13\n2606:4700::/32\n"
MORE = f"{LIST}131.0.72.0/22\n"
CONFIG: dict[str, Any] = {
    "sources": [{"name": "edge", "type": "url", "url": "http://127.0.0.1:8099/edge.txt", "retries": 0}],
    "targets": [
        {"type": "nginx-geo", "path": "/etc/nginx/edge/edge.conf", "sources": ["edge"]},
        {"type": "nftables", "table": "ipranges", "ports": [443], "sources": ["edge"], "mode": "observe"},
    ],
}
SERVE = "systemd-run --quiet --unit=lists python3 -m http.server 8099 --bind 127.0.0.1 --directory /srv/lists"
WAIT = "until curl -sf -o /dev/null http://127.0.0.1:8099/; do sleep 0.2; done"


def play(spare: Lab, bundle: Path, config: dict[str, Any]) -> Run:
    return run_roles(spare, "spare", ["ipranges"], {"authd_release_file": str(bundle), "ipranges_config": config})


def publish(machine: Machine, text: str) -> None:
    machine.write("/srv/lists/edge.txt", text)


def refresh(machine: Machine) -> int:
    """As the timer does it; the exit code of the run."""
    machine.run("systemctl", "start", "ipranges.service", check=False)
    code = machine.run("systemctl", "show", "--property=ExecMainStatus", "--value", "ipranges.service").stdout
    machine.run("systemctl", "reset-failed", "ipranges.service", check=False)
    return int(code)


def allowed(machine: Machine) -> tuple[str, str]:
    """What nginx' file and the kernel hold."""
    rules = machine.shell("nft list table inet ipranges | grep -v 'counter packets'")
    return machine.shell("cat /etc/nginx/edge/edge.conf"), rules


@pytest.fixture(scope="module")
def machine(spare: Lab) -> Machine:
    """Its nginx includes the list. In the order of its life; each test begins where the one before has ended."""
    machine = spare["spare"]
    machine.shell("apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy install nginx-light")
    machine.write("/etc/nginx/conf.d/edge.conf", "include /etc/nginx/edge/*.conf;\n")
    return machine


def test_a_source_that_never_answered_is_one_sentence_and_the_timer_tries_again(
    spare: Lab, machine: Machine, bundle: Path
) -> None:
    played = play(spare, bundle, CONFIG)
    assert re.search(r"edge: .*What was in force stays, and the timer tries again", played.output), played.output[
        -3000:
    ]
    assert played.failed == {"spare": 1}
    assert machine.run("systemctl", "is-active", "ipranges.timer").stdout == "active\n"


def test_lists_are_in_force_at_once_and_run_from_now_on(spare: Lab, machine: Machine, bundle: Path) -> None:
    publish(machine, LIST)
    machine.shell(f"{SERVE}; {WAIT}")
    play(spare, bundle, CONFIG).must()
    file, rules = allowed(machine)
    for network in ("104.16.0.0/13", "2606:4700::/32"):
        assert network in file
        assert network in rules
    said = machine.shell("systemctl is-active ipranges.timer; systemctl is-enabled ipranges{.timer,-restore.service}")
    assert said.split() == ["active", "enabled", "enabled"]
    assert "ipranges.service" in machine.run("systemctl", "list-timers", "ipranges.timer").stdout


def test_a_second_run_changes_nothing(spare: Lab, machine: Machine, bundle: Path) -> None:
    again = play(spare, bundle, CONFIG).must()
    assert again.changed == {"spare": 0}, again.changes


@pytest.mark.parametrize("unit", ["ipranges.service", "ipranges-restore.service"])
def test_the_units_are_hardened_as_they_are_deployed(machine: Machine, unit: str) -> None:
    said = machine.shell(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    assert float(re.findall(r"\d+\.\d+", said)[0]) < 3.0


def test_the_unit_brings_a_new_list_to_nginx_and_to_the_kernel(machine: Machine) -> None:
    workers = machine.shell("pgrep -f 'nginx: worker'")
    publish(machine, MORE)
    assert refresh(machine) == 0, machine.shell("journalctl -u ipranges -n 20 -o cat")
    file, rules = allowed(machine)
    assert "131.0.72.0/22" in file
    assert "131.0.72.0/22" in rules
    assert machine.shell("pgrep -f 'nginx: worker'") != workers


@pytest.mark.parametrize("text", ["<html>we are sorry</html>", MORE + "0.0.0.0/0\n", ""], ids=["html", "all", "empty"])
def test_what_is_no_list_changes_nothing(machine: Machine, text: str) -> None:
    before = allowed(machine)
    publish(machine, text)
    assert refresh(machine) == 4
    assert allowed(machine) == before
    publish(machine, MORE)
    assert refresh(machine) == 0


def test_a_configuration_that_ipranges_refuses_is_not_written(spare: Lab, machine: Machine, bundle: Path) -> None:
    before = machine.shell("sha256sum /etc/ipranges/ipranges.yml")
    played = play(spare, bundle, {**CONFIG, "no_such_key": 1})
    assert (played.is_good, "no_such_key" in played.output) == (False, True), played.output[-3000:]
    assert machine.shell("sha256sum /etc/ipranges/ipranges.yml") == before


def test_with_the_source_down_the_old_list_stays_over_a_reboot(machine: Machine) -> None:
    before = allowed(machine)
    machine.run("systemctl", "stop", "lists")
    assert refresh(machine) == 4
    assert allowed(machine) == before
    machine.reboot()
    assert allowed(machine) == before
    units = "ipranges-restore nginx"
    said = machine.shell(f"systemctl is-active {units}; systemctl show -p Result --value ipranges-restore")
    assert said.split() == ["active", "active", "success"]
