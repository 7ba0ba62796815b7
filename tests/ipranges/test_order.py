"""In which order targets are changed, and that one that fails stops no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipranges.errors import ExitCode
from ipranges.model import TargetOutcome
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.operate import restore
from ipranges.targets import ipset, nftables, ufw
from tests.ipranges.namespaces import require_programs, run
from tests.ipranges.test_formats import FIREWALL, UFW
from tests.ipranges.world import CLOUDFLARE, World, message_of, outcome_of

GOLDEN = Path(__file__).parent / "golden"
ALLOWED: NetworkSet = CLOUDFLARE | parse_network_set(["192.0.2.10"])


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        ("nftables", nftables.render_table(FIREWALL, ALLOWED)),
        ("ipset", ipset.render_ipset("edge", ALLOWED)),
        ("ufw", "".join(" ".join(rule) + "\n" for rule in ufw.render_rules(UFW, ALLOWED.all_cidrs))),
    ],
)
def test_case_01_golden_output_of_every_kernel_target(name: str, rendered: str) -> None:
    assert rendered == (GOLDEN / name).read_text()


@pytest.fixture
def ringed(isolated_world: World) -> World:
    """A firewall and a file; the file's test writes down what the firewall holds at that moment."""
    world = isolated_world
    world.sources = [{"name": "own", "type": "static", "cidrs": ["10.1.0.0/16"]}]
    look = f"nft list set inet ipranges v4 > {world.directory}/seen"
    world.targets = [
        {"type": "text", "path": str(world.list_path), "sources": ["own"], "name": "list", "test": ["sh", "-c", look]},
        {"type": "nftables", "ports": [443], "sources": ["own"], "name": "firewall"},
    ]
    assert world.sync().exit_code == ExitCode.OK
    return world


def test_what_is_added_is_let_in_by_the_firewall_first(ringed: World) -> None:
    ringed.sources[0]["cidrs"] = ["10.1.0.0/16", "10.7.0.0/16"]
    ringed.sync()
    assert "10.7.0.0/16" in (ringed.directory / "seen").read_text()


def test_what_only_goes_is_refused_by_the_inner_ring_first(ringed: World) -> None:
    ringed.sources[0]["cidrs"] = ["10.1.0.0/24"]
    ringed.sync()
    assert "10.1.0.0/16" in (ringed.directory / "seen").read_text()
    assert "10.1.0.0/24" in ringed.list_path.read_text()


def test_a_target_that_fails_stops_no_other(ringed: World) -> None:
    ringed.targets[0]["test"] = ["sh", "-c", "echo broken >&2; exit 1"]
    ringed.sources[0]["cidrs"] = ["10.1.0.0/16", "10.7.0.0/16"]
    report = ringed.sync()
    assert report.exit_code == ExitCode.APPLY_FAILED
    assert (outcome_of(report, "list"), outcome_of(report, "firewall")) == (TargetOutcome.FAILED, TargetOutcome.CHANGED)
    assert "broken" in message_of(report, "list")
    assert "10.7.0.0/16" not in ringed.list_path.read_text()


def test_always_allow_is_in_every_target_but_the_one_that_means_trust(world: World) -> None:
    world.settings["always_allow"] = ["192.0.2.10"]
    kinds = ["nginx-geo", "nginx-allow", "nginx-realip", "text", "json"]
    world.targets = [
        {"type": kind, "path": str(world.directory / kind), "sources": ["cloudflare"], "test": [], "reload": []}
        for kind in kinds
    ]
    assert world.sync().exit_code == ExitCode.OK
    holding = [kind for kind in kinds if "192.0.2.10" in (world.directory / kind).read_text()]
    assert holding == ["nginx-geo", "nginx-allow", "text", "json"]


def test_a_restore_with_nothing_remembered_says_so_and_installs_nothing(isolated_world: World) -> None:
    isolated_world.targets = [
        {"type": "nftables", "ports": [443], "sources": ["cloudflare"], "name": "firewall"},
    ]
    report = restore(isolated_world.config, isolated_world.runtime)
    assert report.exit_code == ExitCode.STALE
    assert "there is no list of cloudflare yet" in message_of(report, "firewall")


def test_a_set_of_somebody_else_under_our_name_is_told_and_left_alone(isolated_world: World) -> None:
    require_programs("ipset")
    if run("ipset", "create", "edge-v4", "hash:ip,port", check=False).returncode:
        pytest.skip("the kernel has no ipset here")
    run("ipset", "create", "edge-v6", "hash:net", "family", "inet6")
    run("ipset", "add", "edge-v4", "9.9.9.9,tcp:80")
    isolated_world.targets = [{"type": "ipset", "set": "edge", "sources": ["cloudflare"], "name": "sets"}]
    report = isolated_world.sync()
    assert report.exit_code == ExitCode.APPLY_FAILED
    assert "9.9.9.9,tcp:80" in message_of(report, "sets")
    assert "9.9.9.9,tcp:80" in run("ipset", "save", "edge-v4").stdout


def test_a_command_that_never_ends_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipranges.install.commands.TIMEOUT_SECONDS", 0.2)
    world.targets[0]["reload"] = ["sleep", "30"]
    report = world.sync()
    assert report.exit_code == ExitCode.PUT_BACK_FAILED
    assert "`sleep 30` did not end within 0.2 s" in message_of(report, "list")
    assert not world.list_path.exists()
