"""Not locking out the person at the keyboard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ipranges import enforcing
from ipranges.errors import ExitCode, NotAllowedError
from ipranges.model import TargetOutcome
from ipranges.networks import parse_network_set
from ipranges.targets.nftables import parse_table
from tests.ipranges.namespaces import list_table
from tests.ipranges.world import World, message_of, outcome_of

MAIN = "from ipranges.cli import main; main()"
EDGE = parse_network_set(["10.1.0.0/16"])


@pytest.fixture
def guarded(isolated_world: World) -> World:
    isolated_world.sources = [{"name": "own", "type": "static", "cidrs": ["10.1.0.0/16"]}]
    isolated_world.targets = [
        {"type": "nftables", "ports": [22, 443], "sources": ["own"], "name": "firewall", "mode": "observe"}
    ]
    isolated_world.sync()
    assert not drops()
    isolated_world.targets[0]["mode"] = "enforce"
    return isolated_world


def drops() -> bool:
    return "counter drop" in list_table()


def start(world: World, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", MAIN, *arguments, "--config", str(world.write_config())]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_first_enforcement_that_would_cut_our_own_ssh_is_refused(isolated_world: World) -> None:
    world = isolated_world
    world.sources = [{"name": "own", "type": "static", "cidrs": ["10.1.0.0/16"]}]
    world.targets = [{"type": "nftables", "ports": [22], "sources": ["own"], "name": "firewall"}]
    world.environment["SSH_CONNECTION"] = "198.51.100.7 50000 192.0.2.1 22"
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "firewall")) == (ExitCode.HELD, TargetOutcome.HELD)
    assert "198.51.100.7" in message_of(report, "firewall")
    assert list_table() == ""
    world.settings["always_allow"] = ["198.51.100.7"]
    assert world.sync().exit_code == ExitCode.OK
    assert drops()


@pytest.mark.parametrize("connection", ["198.51.100.7 50000 192.0.2.1 2222", "10.1.0.9 5 192.0.2.1 22", "nonsense", ""])
def test_ssh_on_another_port_or_from_an_allowed_address_is_no_obstacle(connection: str, isolated_world: World) -> None:
    world = isolated_world
    world.sources = [{"name": "own", "type": "static", "cidrs": ["10.1.0.0/16"]}]
    world.targets = [{"type": "nftables", "ports": [22], "sources": ["own"], "name": "firewall"}]
    world.environment["SSH_CONNECTION"] = connection
    assert world.sync().exit_code == ExitCode.OK


def test_confirmed_in_time_it_stays(guarded: World) -> None:
    waiting = start(guarded, "enforce", "--confirm", "30")
    assert waiting.stdout is not None
    assert "Open a NEW connection" in waiting.stdout.readline()
    assert drops()
    confirmed = start(guarded, "confirm")
    assert confirmed.communicate(timeout=30)[0] == "Confirmed: firewall\n"
    out, _ = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (0, "Confirmed.\n")
    assert guarded.sync().exit_code == ExitCode.OK
    assert drops()


def test_not_confirmed_it_observes_again_and_no_timer_switches_it_on(guarded: World) -> None:
    waiting = start(guarded, "enforce", "--confirm", "5")
    assert waiting.stdout is not None
    waiting.stdout.readline()
    assert drops()
    waiting.send_signal(signal.SIGHUP)
    _, errors = waiting.communicate(timeout=30)
    assert (waiting.returncode, "not confirmed in time" in errors) == (3, True)
    assert not drops()
    assert parse_table(list_table())[0] == EDGE
    guarded.now = time.time() + 3600
    report = guarded.sync()
    assert (report.exit_code, outcome_of(report, "firewall")) == (ExitCode.HELD, TargetOutcome.HELD)
    assert "ipranges enforce --confirm" in message_of(report, "firewall")
    assert not drops()
    assert enforcing.enforce_for_good(guarded.config, (), guarded.runtime).exit_code == ExitCode.OK
    assert drops()


def test_killed_while_it_waits_the_next_run_puts_it_back(guarded: World) -> None:
    assert enforcing.begin_enforcing(guarded.config, (), 60, guarded.runtime).exit_code == ExitCode.OK
    assert drops()
    assert guarded.sync().exit_code == ExitCode.OK
    assert drops()
    guarded.age(61)
    assert guarded.sync().exit_code == ExitCode.HELD
    assert not drops()
    assert enforcing.confirm(guarded.config, guarded.runtime) == []


def test_without_a_list_nothing_is_enforced_and_nothing_waits(isolated_world: World) -> None:
    world = isolated_world
    world.targets = [{"type": "nftables", "ports": [443], "sources": ["cloudflare"], "name": "firewall"}]
    assert enforcing.begin_enforcing(world.config, (), 60, world.runtime).exit_code == ExitCode.STALE
    world.age(61)
    assert world.sync().exit_code == ExitCode.OK
    assert drops()


def test_only_a_firewall_that_is_configured_to_can_be_enforced(guarded: World) -> None:
    with pytest.raises(NotAllowedError, match="elsewhere can be enforced; possible: firewall"):
        enforcing.begin_enforcing(guarded.config, ("elsewhere",), 60, guarded.runtime)
    guarded.targets[0]["mode"] = "observe"
    with pytest.raises(NotAllowedError, match="mode: enforce"):
        enforcing.begin_enforcing(guarded.config, (), 60, guarded.runtime)
