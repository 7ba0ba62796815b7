"""`authd tunnel` on the command line, without root and without a network."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from authd.cli import main
from authd.tunnel import changes
from authd.tunnel.status import OriginStatus, Status, render_status, render_tunnel_metrics

WIREGUARD_KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tunnel", *arguments])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "any comment", "-f", str(tmp_path / "id")]
    subprocess.run(command, check=True, timeout=20)
    return tmp_path / "id.pub"


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two directories of an edge. Users and owners need root, and are tried in tests/tunnel."""
    monkeypatch.setenv("AUTHD_TUNNEL_DIRECTORY", str(tmp_path / "etc"))
    monkeypatch.setenv("AUTHD_TUNNEL_RUN_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setattr(changes, "make_account", lambda origin: None)
    monkeypatch.setattr(changes, "make_sockets", lambda origin, run_directory, *, group: None)
    return tmp_path / "etc"


def test_an_origin_is_added_listed_and_revoked(key: Path, edge: Path) -> None:
    assert run("add-origin", "app1", "--public-key", str(key)).output == "app1: may dial in\n"
    assert run("add-origin", "app1", "--public-key", str(key)).output == "app1: unchanged\n"
    listed = json.loads(run("list", "--json").output)["origins"]
    assert [(each["name"], each["service"], each["connections"]) for each in listed] == [("app1", "app1", 4)]
    assert "app1" in run("list").output
    assert json.loads(run("revoke", "app1", "--json").output) == {"revoked": "app1", "ended": 0}
    assert not (edge / "keys/tun-app1").exists()
    again = run("revoke", "app1")
    assert (again.exit_code, again.output) == (1, "authd: there is no origin 'app1'; authd tunnel list shows them\n")


def test_the_key_may_do_one_thing_and_brings_no_options(key: Path, edge: Path) -> None:
    run("add-origin", "app1", "--public-key", str(key), "--from", "192.0.2.0/24", "--from", "2001:db8::/32")
    line = (edge / "keys/tun-app1").read_text()
    material = key.read_text().split()[1]
    assert line == f'restrict,port-forwarding,from="192.0.2.0/24,2001:db8::/32" ssh-ed25519 {material}\n'
    assert (edge / "keys/tun-app1").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "ssh-ed25519 AAAA",
        'command="sh" {key}',
        "{key}\n{key}",
        "restrict {key}",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY=",
    ],
)
def test_what_is_no_key_of_an_origin_is_refused(bad: str, key: Path, edge: Path) -> None:
    done = run("add-origin", "app1", "--public-key", bad.replace("{key}", key.read_text().strip()) or " ")
    assert done.exit_code == 1, done.output
    assert done.output.startswith("authd: the public key is ")
    assert not (edge / "keys").exists()


@pytest.mark.parametrize("name", ["", "App", "../x", "a b", "-a", "a-", "root;id", "a" * 29, "a\n"])
def test_a_name_is_a_word(name: str, key: Path, edge: Path) -> None:
    assert run("add-origin", "--public-key", str(key), "--", name).exit_code == 1


def test_two_origins_have_two_keys(key: Path, edge: Path) -> None:
    run("add-origin", "app1", "--public-key", str(key))
    done = run("add-origin", "app2", "--public-key", str(key))
    assert done.output == "authd: app1 has the same public key; every origin makes a key of its own\n"
    assert not (edge / "keys/tun-app2").exists()


def test_wireguard_needs_an_address_and_a_port(edge: Path) -> None:
    known = ("add-origin", "app1", "--engine", "wireguard", "--public-key", WIREGUARD_KEY)
    assert run(*known).exit_code == 2
    assert run(*known, "--address", "10.99.0.300", "--port", "8080").exit_code == 1
    assert run(*known, "--address", "10.99.0.2", "--port", "8080").exit_code == 0
    out = edge / "out"
    assert run("render", "edge", "--out", str(out)).exit_code == 0
    assert f"PublicKey = {WIREGUARD_KEY}\nAllowedIPs = 10.99.0.2/32\n" in (out / "wg-authd.conf").read_text()
    assert "server 10.99.0.2:8080 max_fails=1 fail_timeout=5s;" in (out / "authd-tunnels.conf").read_text()


def test_replicas_share_an_upstream(key: Path, tmp_path: Path, edge: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id2")], check=True, timeout=20)
    run("add-origin", "app1", "--public-key", str(key), "--service", "app", "--connections", "2")
    run("add-origin", "app2", "--public-key", str(tmp_path / "id2.pub"), "--service", "app", "--connections", "2")
    run("render", "edge", "--out", str(edge / "out"))
    text = (edge / "out/authd-tunnels.conf").read_text()
    assert text.count("upstream ") == 1
    assert text.count("    server unix:") == 4
    assert "wg-authd.conf" not in {path.name for path in (edge / "out").iterdir()}


def test_an_origin_s_files_pin_every_edge(key: Path, tmp_path: Path) -> None:
    public = key.read_text().strip()
    edges = ("--edge", f"edge1=edge1.example.com,{public}", "--edge", f"edge2=[2001:db8::1]:7000,{public}")
    done = run("render", "origin", "--out", str(tmp_path / "out"), "--name", "app1", *edges)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out/ssh_config").read_text()
    assert text.count("\nHost edge") == 8
    assert "    HostName 2001:db8::1\n    Port 7000\n" in text
    assert "    RemoteForward /live/4.sock 127.0.0.1:8080\n" in text
    assert [line.split()[0] for line in (tmp_path / "out/known_hosts").read_text().splitlines()] == ["edge1", "edge2"]


@pytest.mark.parametrize("to", ["", "127.0.0.1", "127.0.0.1:8080\nProxyCommand id", "a b:1", "x.sock"])
def test_a_target_is_one_word(to: str, key: Path, tmp_path: Path) -> None:
    edge = f"edge1=edge1.example.com,{key.read_text().strip()}"
    done = run("render", "origin", "--out", str(tmp_path / "o"), "--name", "app1", "--edge", edge, "--to", to)
    assert (done.exit_code, (tmp_path / "o").exists()) == (1, False)


def test_cloudflared_s_file_is_an_ingress_that_ends_in_a_404(tmp_path: Path) -> None:
    known = ("--tunnel", "0a1b", "--credentials", "/etc/cloudflared/0a1b.json", "--host", "*.example.com")
    done = run("render", "cloudflared", "--out", str(tmp_path), *known, "--host", "example.net", "--json")
    assert json.loads(done.output)["changed"] == ["config.yml"]
    ingress = yaml.safe_load((tmp_path / "config.yml").read_text())["ingress"]
    assert [each.get("hostname") for each in ingress] == ["*.example.com", "example.net", None]
    assert ingress[-1] == {"service": "http_status:404"}


def write_status(path: Path, *, written_at: float) -> None:
    here = OriginStatus("app1", "ssh", 4, 3, 1_700_000_000.0, ("192.0.2.7",), ("/live/1.sock",))
    away = OriginStatus("app2", "ssh", 4, 0, None, (), ())
    path.mkdir(exist_ok=True)
    (path / "status.json").write_text(render_status(Status(written_at, "edge1", (here, away))))


def test_the_status_tells_who_is_here_and_who_is_away(edge: Path, tmp_path: Path) -> None:
    write_status(tmp_path / "run", written_at=time.time())
    lines = run("status").output.splitlines()
    assert lines[1].split() == ["app1", "ssh", "3", "of", "4", "2023-11-14T22:13:20Z", "192.0.2.7"]
    assert lines[2].split() == ["app2", "ssh", "0", "of", "4", "away"]
    assert json.loads(run("status", "--json").output)["edge"] == "edge1"


def test_a_watch_that_is_gone_is_said(edge: Path, tmp_path: Path) -> None:
    done = run("status")
    assert done.exit_code == 1
    assert "nobody watches the tunnels of this edge" in done.output
    write_status(tmp_path / "run", written_at=time.time() - 100)
    assert "the watch over the tunnels stopped 100 seconds ago" in run("status").output


def test_metrics_are_absent_without_tunnels_and_survive_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert render_tunnel_metrics(path, 0) == b""
    for text in ("", "{", "[]", "{}", '{"origins": [{}], "written_at": 0}', '{"origins": 1, "written_at": "x"}'):
        path.write_text(text)
        assert b"authd_tunnel_watch_up 0.0" in render_tunnel_metrics(path, time.time()), text
    os.truncate(path, 0)
    assert b"authd_tunnel_connections{" not in render_tunnel_metrics(path, time.time())
