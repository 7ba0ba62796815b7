"""The second engine with real WireGuard: the kernel's where there is one, else wireguard-go, else one line says so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ipranges.namespaces import require_programs
from tests.tunnel.lab import (
    EDGE,
    ORIGIN,
    TEST_APPLICATION,
    Lab,
    make_key,
    require_lab,
    running_lab,
    start_edge,
    wait_until,
)


def make_wireguard_key(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout
    path.touch(mode=0o600)
    path.write_text(private)
    return subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout.strip()


def require_wireguard() -> None:
    require_programs("wg", "wg-quick")
    probe = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "wg0", "type", "wireguard"], capture_output=True, check=False
    )
    if probe.returncode and not shutil.which("wireguard-go"):
        pytest.skip("no WireGuard here: neither the kernel's module nor wireguard-go")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    require_lab()
    require_wireguard()
    with running_lab() as made:
        make_key(made.edge / "host_ed25519")
        edge_key = make_wireguard_key(made.edge / "wireguard.key")
        origin_key = make_wireguard_key(made.directory / "app1/wireguard.key")
        known = ("--service", "app", "--engine", "wireguard", "--address", "10.99.0.2", "--port", "8080")
        made.authd("add-origin", "app1", "--public-key", origin_key, *known, *made.directories())
        there = ("--name", "app1", "--engine", "wireguard", "--address", "10.99.0.2")
        edge = ("--edge", f"edge1={made.address(EDGE)},{edge_key},10.99.0.1")
        directory = made.directory / "app1"
        made.authd("render", "origin", "--out", str(directory), "--directory", str(directory), *there, *edge)
        made.run_directory.mkdir(exist_ok=True)
        start_edge(made)
        bring_up(made)
        yield made
    Path("/run/wireguard/wg-authd.sock").unlink(missing_ok=True)


def bring_up(lab: Lab) -> None:
    """wg-quick on both; wireguard-go's control sockets of the same name are kept apart by a mount."""
    shutil.copy(lab.edge / "out/authd-tunnel.nft", lab.edge)
    lab.run(EDGE, "wg-quick", "up", str(lab.edge / "out/wg-authd.conf"))
    Path("/run/wireguard").mkdir(exist_ok=True)
    apart = f"mount -t tmpfs none /run/wireguard && wg-quick up {lab.directory}/app1/wg-authd.conf"
    lab.run(ORIGIN, "sh", "-c", apart)
    rule = 'iifname "wg-authd" ip saddr 10.99.0.1 tcp dport 8080 accept'
    lab.run(ORIGIN, "nft", f"add rule inet origin input {rule}")
    lab.start(ORIGIN, sys.executable, str(TEST_APPLICATION), "app1", "10.99.0.2", log="application.log")


def test_requests_pass_and_the_status_says_from_where(lab: Lab) -> None:
    wait_until(lambda: lab.get() == "app1", seconds=20)
    wait_until(lambda: lab.status()["app1"]["connections"] == 1, seconds=5)
    assert lab.status()["app1"]["addresses"] == [lab.address(ORIGIN)]


def test_no_private_key_is_in_a_rendered_file(lab: Lab) -> None:
    for key, directory in ((lab.edge, lab.edge / "out"), (lab.directory / "app1", lab.directory / "app1")):
        private = (key / "wireguard.key").read_text().strip()
        texts = [path.read_text() for path in directory.iterdir() if path.name != "wireguard.key"]
        assert texts
        assert not any(private in text for text in texts)


def test_the_origin_begins_nothing_with_the_edge(lab: Lab) -> None:
    assert lab.get() == "app1"
    done = lab.run(ORIGIN, "curl", "-sS", "-m", "2", "http://10.99.0.1:80/", check=False)
    assert done.returncode == 28, done.stderr
    packets = lab.run(ORIGIN, "ping", "-c1", "-W1", "10.99.0.1", check=False) if shutil.which("ping") else None
    assert packets is None or packets.returncode != 0


def test_a_reload_keeps_the_key_and_the_connection_and_brings_the_fence_back(lab: Lab) -> None:
    """Debian's own `wg syncconf`, without the key in the file, takes it away; that of nftables takes the fence."""
    lines = re.findall("^ExecReload=(.+)$", (lab.edge / "out/wg-reload.conf").read_text(), re.MULTILINE)
    before = lab.run(EDGE, "wg", "show", "wg-authd", "public-key").stdout
    lab.run(EDGE, "nft", "delete", "table", "inet", "authd_tunnel")
    for line in lines:
        # By its path here: wg-quick looks for a bare name in /etc/wireguard.
        command = line.replace("strip %i", f"strip {lab.edge}/out/wg-authd.conf").replace("%i", "wg-authd")
        lab.run(EDGE, "sh", "-c", command)
    assert lab.run(EDGE, "wg", "show", "wg-authd", "public-key").stdout == before
    assert lab.get() == "app1"
    lab.run(EDGE, "nft", "list", "table", "inet", "authd_tunnel")


def test_a_cut_of_three_seconds_is_over_with_it(lab: Lab) -> None:
    with lab.cut(ORIGIN):
        assert lab.get(seconds=3) != "app1"
    assert wait_until(lambda: lab.get(seconds=2) == "app1", seconds=10) < 10


def test_a_revoked_peer_is_out_at_once(lab: Lab) -> None:
    assert lab.get() == "app1"
    assert "revoked, 1 connections ended" in lab.authd("revoke", "app1", *lab.directories()).stdout
    assert lab.get(seconds=3) != "app1"
    assert lab.run(EDGE, "wg", "show", "wg-authd", "peers").stdout == ""
