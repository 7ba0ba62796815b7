"""The key of an origin opens its own socket on the edge, and can do nothing else: each thing tried, each refused."""

from __future__ import annotations

import subprocess

import pytest

from tests.tunnel.lab import EDGE, ORIGIN, SECOND, UIDS, Lab, add_origin, wait_until


def dial(lab: Lab, *options: str, key: str = "app1", host: str = ORIGIN) -> subprocess.CompletedProcess[str]:
    """ssh with the origin's key and settings, but none of its forwards. Ended after 4 seconds if it stays."""
    whole = ["timeout", "4", "ssh", "-F", str(lab.directory / "app1/ssh_config"), "-o", "ControlMaster=no"]
    identity = ["-i", str(lab.directory / key / "id_ed25519")]
    # The first value counts with ssh, so these win over the file's.
    return lab.run(host, *whole, *identity, *options, check=False)


def forward(lab: Lab, *options: str) -> subprocess.CompletedProcess[str]:
    target = ["-o", f"HostName={lab.address(EDGE)}", "-o", "Port=7844", "-o", "HostKeyAlias=edge1", "forward"]
    return dial(lab, "-N", "-o", "ExitOnForwardFailure=yes", *options, *target)


STAYED = 124


def test_its_own_socket_is_what_the_key_is_for(lab: Lab) -> None:
    """The measure of what follows: where it is allowed, the same command stays."""
    assert forward(lab, "-R", "/live/9.sock:127.0.0.1:8080").returncode == STAYED


@pytest.mark.parametrize(
    "forwards",
    [
        ("-R", "127.0.0.1:18080:127.0.0.1:8080"),
        ("-R", "0.0.0.0:18080:127.0.0.1:8080"),
        ("-R", "0:127.0.0.1:8080"),
        ("-R", "18081"),
        ("-R", "/run/x.sock:127.0.0.1:8080"),
        ("-R", "/var/tmp/x.sock:127.0.0.1:8080"),
        ("-R", "/x.sock:127.0.0.1:8080"),
        ("-R", "/live/../x.sock:127.0.0.1:8080"),
        ("-R", "/live/../../tun-app2/live/1.sock:127.0.0.1:8080"),
        ("-R", "/dev/shm/x.sock:127.0.0.1:8080"),
        ("-w", "0:0"),
    ],
)
def test_no_other_forward_is_granted(forwards: tuple[str, str], lab: Lab) -> None:
    done = forward(lab, *forwards)
    assert done.returncode not in (0, STAYED), done.stderr
    assert "failed" in done.stderr.lower() or "request" in done.stderr.lower(), done.stderr


def test_another_origin_s_directory_is_out_of_reach_by_its_real_path(lab: Lab) -> None:
    add_origin(lab, "app2")
    there = lab.run_directory / "tun-app2/live"
    done = forward(lab, "-R", f"{there}/1.sock:127.0.0.1:8080")
    assert done.returncode not in (0, STAYED), done.stderr
    assert list(there.iterdir()) == []


@pytest.mark.parametrize(
    "command", [("id",), ("-tt", "id"), ("-s", "sftp"), ("-W", "127.0.0.1:80"), ("-W", "198.18.2.2:80"), ("-A", "id")]
)
def test_no_shell_no_command_no_sftp_and_no_way_into_the_edge(command: tuple[str, ...], lab: Lab) -> None:
    options = [word for word in command if word.startswith("-")]
    words = [word for word in command if not word.startswith("-")]
    if "-W" in options:
        options, words = ["-W", words[0]], []
    settings = ["-o", "SessionType=default"] if "-s" not in options else ["-o", "SessionType=subsystem"]
    options = [each for each in options if each != "-s"]
    target = ["-o", f"HostName={lab.address(EDGE)}", "-o", "Port=7844", "-o", "HostKeyAlias=edge1"]
    done = dial(lab, *settings, *target, *options, "other", *words)
    assert done.returncode not in (0, STAYED)
    assert done.stdout == ""
    assert "Permission denied" not in done.stderr, "the key itself must be good, or nothing was tried"


def test_a_local_forward_reaches_nothing_on_the_edge(lab: Lab) -> None:
    settings = ["-o", f"HostName={lab.address(EDGE)}", "-o", "Port=7844", "-o", "HostKeyAlias=edge1"]
    config = ["-F", str(lab.directory / "app1/ssh_config"), "-i", str(lab.directory / "app1/id_ed25519")]
    local = ["-L", f"127.0.0.1:9001:{lab.address(EDGE)}:80", "-L", "127.0.0.1:9002:/live/1.sock"]
    process = lab.start(ORIGIN, "ssh", *config, "-N", *local, *settings, "local", log="local.log")
    wait_until(lambda: "9001" in lab.run(ORIGIN, "ss", "-ltn").stdout, seconds=10)
    for port in (9001, 9002):
        done = lab.run(ORIGIN, "curl", "-sS", "-m", "3", f"http://127.0.0.1:{port}/", check=False)
        assert (done.returncode != 0, done.stdout) == (True, "")
    wait_until(lambda: "administratively prohibited" in (lab.directory / "local.log").read_text(), seconds=5)
    lab.stop(process)


@pytest.mark.parametrize("user", ["root", "tun-app2", "www-data", "nobody"])
def test_the_key_is_nobody_else_s(user: str, lab: Lab) -> None:
    done = forward(lab, "-o", f"User={user}", "-R", "/live/9.sock:127.0.0.1:8080")
    assert "Permission denied" in done.stderr


def test_a_key_of_one_network_is_refused_from_another(lab: Lab) -> None:
    public = (lab.directory / "app1/id_ed25519.pub").read_text().strip()
    known = ("app1", "--public-key", public, "--service", "app")
    lab.authd("add-origin", *known, "--from", "198.18.3.0/24", *lab.directories())
    assert forward(lab, "-R", "/live/9.sock:127.0.0.1:8080").returncode == STAYED
    target = ["-o", f"HostName={lab.address(EDGE)}", "-o", "Port=7844", "-o", "HostKeyAlias=edge1", "forward"]
    stolen = dial(lab, "-N", *target, host=SECOND)
    assert "Permission denied" in stolen.stderr


def test_nginx_alone_enters_the_sockets(lab: Lab) -> None:
    live = lab.run_directory / "tun-app1/live"
    for user, may in (("nobody", False), ("www-data", True)):
        done = lab.run(
            EDGE, "setpriv", "--reuid", user, "--regid", user, "--clear-groups", *_ask(f"{live}/1.sock"), check=False
        )
        assert (done.stdout == "app1") is may, done.stderr
    written = lab.run(
        EDGE, "setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "touch", f"{live}/x", check=False
    )
    assert written.returncode != 0
    assert (live.stat().st_uid, live.stat().st_mode & 0o7777) == (UIDS["app1"], 0o2710)


def _ask(path: str) -> list[str]:
    return ["curl", "-sS", "-m", "3", "--unix-socket", path, "http://app/"]
