"""ipset, ufw, HAProxy and Caddy, each as it is installed on Debian."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipranges.errors import ExitCode
from ipranges.install import run as install_run
from ipranges.model import TargetOutcome
from ipranges.networks import parse_network_set
from ipranges.operate import uninstall
from ipranges.targets import FileFormat
from tests.harness.nginx import find_free_port
from tests.ipranges.namespaces import made_namespace, require_namespaces, require_programs, run
from tests.ipranges.world import World, message_of, outcome_of

EDGE = "127.0.0.2"


def use(world: World, *cidrs: str, **target: object) -> None:
    world.sources = [{"name": "own", "type": "static", "cidrs": list(cidrs)}]
    world.targets = [{"sources": ["own"], "name": "target", **target}]


def wait_for(happened: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


@contextmanager
def running(*command: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _accepts(port))
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int, source: str) -> bool:
    """Whether an HTTP request from a loopback address gets any answer."""
    with socket.socket() as made:
        made.settimeout(1)
        try:
            made.bind((source, 0))
            made.connect(("127.0.0.1", port))
            made.sendall(b"GET / HTTP/1.1\r\nHost: origin.localhost\r\nConnection: close\r\n\r\n")
            return made.recv(100).startswith(b"HTTP/1.1")
        except OSError:
            return False


@pytest.fixture
def ipset_world(world: World, namespace: str) -> World:
    del namespace
    require_programs("ipset")
    if run("ipset", "create", "probe", "hash:net", check=False).returncode:
        pytest.skip("the kernel has no ipset here")
    run("ipset", "destroy", "probe")
    return world


def test_ipsets_are_swapped_whole_and_read_back(ipset_world: World) -> None:
    use(ipset_world, "10.1.0.0/16", "fd01::/64", type="ipset", set="edge")
    assert ipset_world.sync().exit_code == ExitCode.OK
    run("iptables", "-A", "INPUT", "-m", "set", "--match-set", "edge-v4", "src", "-j", "ACCEPT", check=False)
    ipset_world.sources[0]["cidrs"] = ["10.2.0.0/16", "10.3.0.7"]
    assert ipset_world.sync().exit_code == ExitCode.OK
    assert "add edge-v4 10.3.0.7\n" in run("ipset", "save", "edge-v4").stdout
    assert run("ipset", "save", "edge-v6").stdout.count("add") == 0
    assert run("ipset", "list", "-n").stdout.split() == ["edge-v4", "edge-v6"]
    assert outcome_of(ipset_world.sync(), "target") is TargetOutcome.IN_SYNC


def test_what_a_killed_run_left_of_an_ipset_is_no_obstacle(ipset_world: World) -> None:
    use(ipset_world, "10.1.0.0/16", type="ipset", set="edge")
    ipset_world.sync()
    run("ipset", "create", "edge-v4_new", "hash:net", "maxelem", "7")
    run("ipset", "add", "edge-v4", "8.8.8.0/24")
    report = ipset_world.sync()
    assert (report.exit_code, outcome_of(report, "target")) == (ExitCode.OK, TargetOutcome.REPAIRED)
    run("ipset", "flush", "edge-v4")
    assert "8.8.8.0" not in run("ipset", "save").stdout
    uninstall(ipset_world.config)
    assert run("ipset", "list", "-n").stdout == ""


@pytest.fixture
def ufw_world(world: World) -> Iterator[World]:
    """ufw with an /etc/ufw of its own: `ip netns exec` lays /etc/netns/<name> over /etc."""
    require_programs("ufw", "unshare")
    require_namespaces()
    with made_namespace() as name:
        private = Path("/etc/netns") / name
        shutil.copytree("/etc/ufw", private / "ufw")
        wrapper = world.directory / "bin" / "ufw"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec ip netns exec {name} /usr/sbin/ufw "$@"\n')
        wrapper.chmod(0o755)
        try:
            yield world
        finally:
            shutil.rmtree(private)


def test_ufw_rules_are_added_first_and_only_our_own_are_removed(
    ufw_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{ufw_world.directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    run("ufw", "allow", "22/tcp")
    run("ufw", "allow", "from", "9.9.9.9", "to", "any", "port", "443", "proto", "tcp", "comment", "theirs")
    use(ufw_world, "10.1.0.0/16", "10.3.0.7", "fd01::/64", type="ufw", ports=[443])
    assert ufw_world.sync().exit_code == ExitCode.OK
    assert outcome_of(ufw_world.sync(), "target") is TargetOutcome.IN_SYNC
    ufw_world.sources[0]["cidrs"] = ["10.2.0.0/16", "10.3.0.7"]
    report = ufw_world.sync()
    assert (report.exit_code, outcome_of(report, "target")) == (ExitCode.OK, TargetOutcome.CHANGED)
    added = run("ufw", "show", "added").stdout
    assert "10.1.0.0/16" not in added
    assert added.count("10.2.0.0/16") == 2
    assert added.count("comment 'ipranges target'") == 4
    uninstall(ufw_world.config)
    left = run("ufw", "show", "added").stdout
    assert "ipranges" not in left
    assert "ufw allow 22/tcp" in left
    assert "comment 'theirs'" in left


HAPROXY = """
global
    stats socket {socket} mode 600 level admin
defaults
    mode http
    timeout connect 1s
    timeout client 2s
    timeout server 2s
frontend edge
    bind 127.0.0.1:{port}
    acl edge src -f {list}
    http-request silent-drop unless edge
    http-request return status 200
"""


def test_haproxy_takes_the_list_at_run_time_and_it_is_read_back(world: World) -> None:
    require_programs("haproxy")
    port, path, admin = find_free_port(), world.directory / "edge.lst", world.directory / "ha.sock"
    config = world.directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(socket=admin, port=port, list=path))
    commands = {"test": ["haproxy", "-c", "-q", "-f", str(config)], "reload": ["false"]}
    use(world, f"{EDGE}/32", type="haproxy", path=str(path), **{**commands, "reload": []})
    assert "not proved" in message_of(world.sync(), "target")
    with running("haproxy", "-db", "-f", str(config), port=port):
        assert answers(port, EDGE)
        assert not answers(port, "127.0.0.3")
        use(world, f"{EDGE}/32", "127.0.0.3", type="haproxy", path=str(path), socket=str(admin), **commands)
        report = world.sync()
        assert (report.exit_code, message_of(report, "target")) == (ExitCode.OK, "")
        assert answers(port, "127.0.0.3")
        assert not answers(port, "127.0.0.4")


def test_haproxy_does_not_get_a_list_that_it_cannot_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    require_programs("haproxy")
    bad = FileFormat(lambda label, networks: "<html>Generated by ipranges\n", lambda text: parse_network_set([text]))
    use(world, f"{EDGE}/32", type="haproxy", path=str(world.directory / "x.lst"))
    monkeypatch.setattr(install_run, "build_file_format", lambda target: bad)
    report = world.sync()
    assert report.exit_code == ExitCode.APPLY_FAILED
    assert not (world.directory / "x.lst").exists()


CADDY = """
{{
    admin 127.0.0.1:{admin}
    auto_https off
    order abort first
}}
import {list}
http://origin.localhost:{port} {{
    import edge_only
    redir /elsewhere /
    handle {{
        respond "in"
    }}
}}
"""


def test_caddy_cuts_off_strangers_before_any_handler(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    require_programs("caddy")
    monkeypatch.setenv("HOME", str(world.directory))
    port, admin, path = find_free_port(), find_free_port(), world.directory / "edge.caddy"
    config = world.directory / "Caddyfile"
    config.write_text(CADDY.format(admin=admin, port=port, list=path))
    caddy = ("--config", str(config), "--adapter", "caddyfile")
    commands = {"test": ["caddy", "validate", *caddy], "reload": ["caddy", "reload", *caddy]}
    use(world, f"{EDGE}/32", type="caddy", path=str(path), test=[], reload=[])
    assert world.sync().exit_code == ExitCode.OK
    with running("caddy", "run", *caddy, port=port):
        assert answers(port, EDGE)
        assert not answers(port, "127.0.0.3")
        use(
            world,
            f"{EDGE}/32",
            "127.0.0.3",
            type="caddy",
            path=str(path),
            admin=f"http://127.0.0.1:{admin}",
            **commands,
        )
        report = world.sync()
        assert (report.exit_code, message_of(report, "target")) == (ExitCode.OK, "")
        assert answers(port, "127.0.0.3")
        world.targets[0]["reload"] = ["true"]
        world.sources[0]["cidrs"] = ["127.0.0.4"]
        report = world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        assert "does not run with the new list" in message_of(report, "target")
        uninstall(world.config)
        run("caddy", "validate", *caddy)
