"""WireGuard by the roles tunnel_edge and tunnel_origin, on two machines: the kernel's, else wireguard-go."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab.machines import Lab, wait_until
from tests.lab.playbook import Run, run_roles

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8bYAVwJ6UMWl9T8Xx3pGgkqvI3Lh1gqjKLBFY5q3mN"
# Some point of the curve, whose key nobody has.
NOBODY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
OTHER = {"name": "other", "engine": "wireguard", "public_key": NOBODY, "address": "10.99.0.3"}
OLD = {"name": "old", "public_key": SSH_KEY}
KEY = "/etc/authd-tunnel/wireguard.key"
SERVE = "systemd-run --quiet --unit=inside python3 -m http.server 8080 --bind 10.99.0.2 --directory /usr/share/doc"
USERSPACE = "apt-get -q update; apt-get -qy install wireguard-go; test -e /dev/net/tun"


def kernel_has_it() -> bool:
    probe = ["unshare", "--net", "ip", "link", "add", "probe", "type", "wireguard"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def play_edge(spare: Lab, bundle: Path, origins: list[dict[str, Any]]) -> Run:
    variables = {"authd_release_file": str(bundle), "tunnel_edge_origins": origins}
    return run_roles(spare, "spare", ["tunnel_edge"], variables)


def play_origin(spare: Lab, bundle: Path, edge_key: str) -> Run:
    edge = {"name": "edge", "host": spare["spare"].address, "host_key": edge_key, "address": "10.99.0.1"}
    variables = {"tunnel_origin_name": "far", "tunnel_origin_engine": "wireguard", "tunnel_origin_address": "10.99.0.2"}
    given = {"authd_release_file": str(bundle), "tunnel_origin_edges": [edge], **variables}
    return run_roles(spare, "far", ["tunnel_origin"], given)


def public_key(spare: Lab, name: str) -> str:
    return spare[name].shell(f"wg pubkey <{KEY}").strip()


def answers(spare: Lab) -> bool:
    ask = ["curl", "-sf", "-m", "2", "-o", "/dev/null", "http://10.99.0.2:8080/"]
    return spare["spare"].run(*ask, check=False).returncode == 0


def connections(spare: Lab) -> dict[str, int]:
    """By the edge's own status."""
    status = json.loads(spare["spare"].run("authd", "tunnel", "status", "--json").stdout)
    return {each["name"]: each["connections"] for each in status["origins"]}


@pytest.fixture(scope="module")
def origins(spare: Lab, bundle: Path) -> list[dict[str, Any]]:
    """Both ends deployed; what the edge was told last. Each test begins where the one before has ended."""
    if not kernel_has_it():
        played = play_edge(spare, bundle, [OTHER])
        assert re.search(r"The kernel of spare has no WireGuard .* by OpenSSH", played.output), played.output[-3000:]
        assert spare["spare"].run("test", "-e", KEY, check=False).returncode
        for name in ("spare", "far"):
            spare[name].shell(USERSPACE)
    play_edge(spare, bundle, [OTHER, OLD]).must()
    play_origin(spare, bundle, public_key(spare, "spare")).must()
    far = {"name": "far", "engine": "wireguard", "public_key": public_key(spare, "far"), "address": "10.99.0.2"}
    spare["spare"].run("test", "-e", "/etc/authd-tunnel/keys/tun-old")
    # A peer more is a reload, which keeps the key.
    play_edge(spare, bundle, [OTHER, far]).must()
    spare["far"].shell(SERVE)
    return [OTHER, far]


def test_requests_pass_and_the_status_knows_who_is_there(spare: Lab, origins: list[dict[str, Any]]) -> None:
    wait_until(lambda: answers(spare), "an answer through the tunnel", seconds=30)
    wait_until(lambda: connections(spare)["far"] == 1, "the status", seconds=10)
    # The fence: an origin begins nothing with the edge.
    assert spare["far"].run("curl", "-s", "-m", "2", "telnet://10.99.0.1:22", check=False).returncode == 28


def test_keys_stay_where_they_were_made(spare: Lab, origins: list[dict[str, Any]]) -> None:
    for name in ("spare", "far"):
        assert spare[name].shell(f"stat -c '%a %U' {KEY} /etc/wireguard/wg-authd.conf") == "600 root\n600 root\n"
        private = spare[name].shell(f"cat {KEY}").strip()
        assert private not in spare[name].shell("cat /etc/wireguard/wg-authd.conf; journalctl -b -o cat --no-pager")
        assert spare[name].run("systemctl", "is-enabled", "wg-quick@wg-authd").stdout == "enabled\n"


def test_a_second_run_changes_nothing(spare: Lab, bundle: Path, origins: list[dict[str, Any]]) -> None:
    again = [play_edge(spare, bundle, origins).must(), play_origin(spare, bundle, public_key(spare, "spare")).must()]
    assert [run.changed for run in again] == [{"spare": 0}, {"far": 0}], [run.changes for run in again]


def test_both_ends_are_there_again_after_a_reboot(spare: Lab, origins: list[dict[str, Any]]) -> None:
    for name in ("spare", "far"):
        spare[name].reboot()
    spare["far"].shell(SERVE)
    wait_until(lambda: answers(spare), "an answer through the tunnel", seconds=60)


def test_an_origin_that_leaves_the_list_is_revoked(spare: Lab, bundle: Path, origins: list[dict[str, Any]]) -> None:
    machine = spare["spare"]
    assert machine.run("test", "-e", "/etc/authd-tunnel/keys/tun-old", check=False).returncode
    assert answers(spare), "revoking one ends no other"
    play_edge(spare, bundle, []).must()
    assert not answers(spare)
    assert machine.shell("ls /etc/wireguard; authd tunnel list --json | tr -d ' \\n'") == '{"origins":[]}'
    assert machine.run("systemctl", "is-enabled", "wg-quick@wg-authd", check=False).stdout == "disabled\n"


def test_an_origin_may_change_to_the_other_engine(spare: Lab, bundle: Path, origins: list[dict[str, Any]]) -> None:
    """Its key is made first, as in the example's playbook: the edge has to know it."""
    host_key = spare["spare"].shell("cat /etc/authd-tunnel/host_ed25519.pub").strip()
    edge = {"name": "edge", "host": spare["spare"].address, "host_key": host_key}
    given = {"authd_release_file": str(bundle), "tunnel_origin_edges": [edge], "tunnel_origin_name": "far"}
    run_roles(spare, "far", ["tunnel_origin"], given).must()
    far = {"name": "far", "public_key": spare["far"].shell("cat /etc/authd-tunnel/id_ed25519.pub").strip()}
    play_edge(spare, bundle, [far]).must()
    wait_until(lambda: connections(spare)["far"] == 4, "four connections by OpenSSH", seconds=60)
    unit = "wg-quick@wg-authd"
    said = spare["far"].run("systemctl", "show", "--property=ActiveState,UnitFileState", unit).stdout
    assert said.split() == ["ActiveState=inactive", "UnitFileState=disabled"]
