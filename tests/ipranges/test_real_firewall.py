"""Cases 17 and 23 of the promise list against real nftables, in namespaces that `ip netns` makes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ipranges.errors import ExitCode
from ipranges.model import SourceOutcome, TargetOutcome
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.operate import restore, uninstall
from ipranges.sync import sync
from ipranges.targets.nftables import parse_table
from tests.ipranges.namespaces import (
    entered,
    list_table,
    made_namespace,
    new_name,
    require_namespaces,
    require_programs,
    run,
)
from tests.ipranges.world import API, CLOUDFLARE, World, message_of, outcome_of

FIREWALL = {"type": "nftables", "table": "ipranges", "ports": [443], "sources": ["cloudflare"], "name": "firewall"}


def live() -> NetworkSet:
    return parse_table(list_table())[0]


def flush() -> None:
    run("nft", "flush", "ruleset")


@pytest.fixture
def firewalled(isolated_world: World) -> World:
    isolated_world.targets = [dict(FIREWALL)]
    return isolated_world


def test_a_run_installs_the_table_and_reads_it_back(firewalled: World) -> None:
    report = firewalled.sync()
    assert (report.exit_code, outcome_of(report, "firewall")) == (ExitCode.OK, TargetOutcome.CHANGED)
    assert live() == CLOUDFLARE
    assert "th dport 443 jump edge_only" in list_table()
    assert outcome_of(firewalled.sync(), "firewall") is TargetOutcome.IN_SYNC


@pytest.mark.parametrize("answer", [200, 304])
def test_case_17_a_flushed_ruleset_is_rebuilt_although_the_source_has_nothing_new(
    answer: int, firewalled: World
) -> None:
    firewalled.server.serve_sample(API, "cloudflare-api.json", headers={"ETag": '"1"'})
    firewalled.sync()
    flush()
    assert list_table() == ""
    if answer == 304:
        firewalled.server.serve(API, b"", status=304)
    report = firewalled.sync()
    assert firewalled.server.asked[-1].headers["if-none-match"] == '"1"'
    assert (report.exit_code, outcome_of(report, "firewall")) == (ExitCode.OK, TargetOutcome.REPAIRED)
    assert "drift: it was gone" in message_of(report, "firewall")
    assert live() == CLOUDFLARE


@pytest.mark.parametrize(
    "edit",
    [
        "add element inet ipranges v4 { 8.8.8.0/24 }",
        "delete element inet ipranges v4 { 131.0.72.0/22 }",
        "insert rule inet ipranges edge_only accept",
        "flush chain inet ipranges pre",
        "add chain inet ipranges other",
    ],
)
def test_every_kind_of_hand_edit_is_drift_and_is_repaired(edit: str, firewalled: World) -> None:
    firewalled.sync()
    before = list_table()
    run("nft", edit)
    report = firewalled.sync()
    assert outcome_of(report, "firewall") is TargetOutcome.REPAIRED
    assert list_table() == before


def test_tables_of_others_are_never_touched(firewalled: World) -> None:
    run("nft", "-f", "-", text="table inet theirs {\n set s {\n type ipv4_addr;\n elements = { 9.9.9.9 }\n }\n}\n")
    before = list_table("theirs")
    firewalled.sync()
    uninstall(firewalled.config)
    assert list_table("theirs") == before
    assert list_table() == ""


def test_a_failure_inside_the_transaction_leaves_the_old_table(firewalled: World) -> None:
    firewalled.sync()
    before = list_table()
    firewalled.targets[0]["ports"] = [443, 80]
    firewalled.settings["always_allow"] = ["192.0.2.10"]
    config = firewalled.config
    config.targets[0].__dict__["table"] = "ipranges; bad"
    report = sync(config, firewalled.runtime)
    assert report.exit_code in (ExitCode.APPLY_FAILED, ExitCode.PUT_BACK_FAILED)
    assert list_table() == before


def test_case_25_the_firewall_is_restored_at_boot_without_any_network(firewalled: World) -> None:
    firewalled.sync()
    flush()
    firewalled.server.close()
    run("ip", "link", "set", "lo", "down")
    report = restore(firewalled.config, firewalled.runtime)
    assert report.exit_code == ExitCode.OK
    assert live() == CLOUDFLARE
    assert [r.outcome for r in report.sources] == [SourceOutcome.UNCHANGED]
    run("ip", "link", "set", "lo", "up")


def test_an_empty_family_refuses_everybody_of_it(firewalled: World) -> None:
    firewalled.sources = [{"name": "cloudflare", "type": "static", "cidrs": ["10.9.0.0/16"]}]
    firewalled.sync()
    assert live() == parse_network_set(["10.9.0.0/16"])
    assert "ip6 saddr @v6 accept\n\t\tcounter" in list_table().replace("counter drop", "counter")


TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


class Site:
    """A host with a container behind it, a peer that is the edge, and one that is not."""

    def __init__(self, stack: ExitStack) -> None:
        names = {role: stack.enter_context(made_namespace()) for role in ("host", "outside", "box")}
        self.host, self.outside, self.box = names["host"], names["outside"], names["box"]
        self._link(self.outside, "10.7.0.2/24", "10.7.0.1/24", "fd07::2/64", "fd07::1/64")
        self._link(self.box, "172.30.0.2/24", "172.30.0.1/24", "fd30::2/64", "fd30::1/64")
        run("ip", "-n", self.outside, "address", "add", "10.7.0.9/24", "dev", "uplink")
        run("ip", "-n", self.box, "route", "add", "default", "via", "172.30.0.1")
        run("ip", "-n", self.outside, "route", "add", "172.30.0.0/24", "via", "10.7.0.1")
        run("ip", "netns", "exec", self.host, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        # What Docker does for `-p 443:8443`.
        run("ip", "netns", "exec", self.host, "nft", "-f", "-", text=DOCKER)
        self._stack = stack

    def _link(self, name: str, *addresses: str) -> None:
        near, far = new_name(), "uplink"
        run("ip", "-n", self.host, "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        for namespace, device, v4, v6 in (
            (name, far, addresses[0], addresses[2]),
            (self.host, near, addresses[1], addresses[3]),
        ):
            run("ip", "-n", namespace, "address", "add", v4, "dev", device)
            run("ip", "-n", namespace, "address", "add", v6, "dev", device, "nodad")
            run("ip", "-n", namespace, "link", "set", device, "up")

    def listen(self, name: str, address: str, port: int, kind: str = "tcp") -> None:
        """An echo server in a namespace, for as long as the test lasts."""
        command = ["ip", "netns", "exec", name, sys.executable, "-c", ECHO, address, str(port), kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        assert process.stdout.readline() == b"ready\n"

    def connect(self, name: str, source: str, address: str, port: int, kind: int = TCP) -> socket.socket:
        with entered(name):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            made = socket.socket(family, kind)
            try:
                made.settimeout(0.6)
                made.bind((source, 0))
                made.connect((address, port))
            except OSError:
                made.close()
                raise
            return made

    def reaches(self, name: str, source: str, address: str, port: int, kind: int = TCP) -> bool:
        try:
            with self.connect(name, source, address, port, kind) as made:
                return echoes(made)
        except OSError:
            return False


DOCKER = """
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat; ip daddr 10.7.0.1 tcp dport 443 dnat to 172.30.0.2:8443;
  }
}
"""
ECHO = """
import socket, sys, threading
address, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(*((socket.IPPROTO_IPV6, 78) if ":" in address else (socket.IPPROTO_IP, 15)), 1)
server.bind((address, port))
if kind == "tcp": server.listen()
print("ready", flush=True)
def serve(c):
    while data := c.recv(100): c.sendall(data)
while True:
    if kind == "udp":
        data, peer = server.recvfrom(100)
        server.sendto(data, peer)
    else:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def echoes(made: socket.socket) -> bool:
    try:
        made.send(b"ping")
        return made.recv(100) == b"ping"
    except OSError:
        return False


@pytest.fixture
def site() -> Iterator[Site]:
    require_namespaces()
    with ExitStack() as stack:
        yield Site(stack)


EDGE, OUTSIDER = "10.7.0.2", "10.7.0.9"


@contextmanager
def managed(site: Site, world: World, *cidrs: str) -> Iterator[World]:
    """The host's firewall, kept by ipranges; the edge is a static list."""
    world.sources = [{"name": "cloudflare", "type": "static", "cidrs": list(cidrs)}]
    world.targets = [dict(FIREWALL)]
    with entered(site.host):
        assert world.sync().exit_code == ExitCode.OK
    yield world


def test_case_23_only_the_edge_reaches_published_and_own_ports(site: Site, world: World) -> None:
    site.listen(site.box, "172.30.0.2", 8443)
    site.listen(site.host, "fd07::1", 443)
    site.listen(site.host, "10.7.0.1", 443, "udp")
    site.listen(site.host, "10.7.0.1", 22)
    site.listen(site.outside, "10.7.0.2", 443)
    assert site.reaches(site.outside, OUTSIDER, "10.7.0.1", 443)
    with managed(site, world, f"{EDGE}/32"):
        assert site.reaches(site.outside, EDGE, "10.7.0.1", 443)
        assert not site.reaches(site.outside, OUTSIDER, "10.7.0.1", 443)
        assert site.reaches(site.box, "172.30.0.2", "10.7.0.2", 443), "containers reach the outside"
        assert not site.reaches(site.outside, "fd07::2", "fd07::1", 443), "an empty IPv6 list refuses"
        assert not site.reaches(site.outside, OUTSIDER, "10.7.0.1", 443, UDP)
        assert site.reaches(site.outside, EDGE, "10.7.0.1", 443, UDP)
        assert site.reaches(site.outside, OUTSIDER, "10.7.0.1", 22), "no other port is touched"


def test_case_23_a_connection_that_stands_survives_a_removal_and_a_new_one_does_not(site: Site, world: World) -> None:
    site.listen(site.box, "172.30.0.2", 8443)
    with managed(site, world, f"{EDGE}/32", f"{OUTSIDER}/32"):
        standing = site.connect(site.outside, OUTSIDER, "10.7.0.1", 443)
        with standing:
            assert echoes(standing)
            world.sources[0]["cidrs"] = [f"{EDGE}/32"]
            with entered(site.host):
                assert world.sync().exit_code == ExitCode.OK
            assert echoes(standing)
            assert not site.reaches(site.outside, OUTSIDER, "10.7.0.1", 443)
            assert site.reaches(site.outside, EDGE, "10.7.0.1", 443)


def test_with_flush_connections_a_removal_ends_what_stands(site: Site, world: World) -> None:
    require_programs("conntrack")
    site.listen(site.box, "172.30.0.2", 8443)
    with managed(site, world, f"{EDGE}/32", f"{OUTSIDER}/32"):
        world.targets[0]["flush_connections"] = True
        with site.connect(site.outside, OUTSIDER, "10.7.0.1", 443) as standing:
            assert echoes(standing)
            world.sources[0]["cidrs"] = [f"{EDGE}/32"]
            with entered(site.host):
                assert world.sync().exit_code == ExitCode.OK
            assert not echoes(standing)


def test_observing_drops_nothing_and_counts(site: Site, world: World) -> None:
    site.listen(site.box, "172.30.0.2", 8443)
    with managed(site, world, f"{EDGE}/32"):
        world.targets[0]["mode"] = "observe"
        with entered(site.host):
            world.sync()
        assert site.reaches(site.outside, OUTSIDER, "10.7.0.1", 443)
        with entered(site.host):
            counted = run("nft", "list", "chain", "inet", "ipranges", "edge_only").stdout
        assert "counter packets 0" not in counted
