"""The unit that ships: systemd's own opinion of it, and that `authd serve` can do its work within it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

import authd
from tests.ipranges.namespaces import require_programs, run

UNIT = Path(authd.__file__).parent / "systemd" / "authd.service"
MOST_EXPOSURE = 29
CONFIG = """
team_domain: auth.example.com
listen: unix:{directory}/authd.sock
state: sqlite:{directory}/authd.db
secret_file: {directory}/secret
workers: 1
identity_providers:
  - id: corp
    type: oidc
    name: Corp
    issuer: https://idp.example.com
    client_id: authd
    client_secret_file: {directory}/corp
applications:
  - id: wiki
    name: Wiki
    domains: [wiki.example.com]
    policies: [{{name: Staff, decision: allow, include: [{{email_domain: example.com}}]}}]
"""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists, as `verify` wants."""
    require_programs("systemd-analyze")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/usr/local/bin/authd", "/bin/true"))
    return path


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    verdict = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=one", str(unit), check=False)
    assert (verdict.returncode, verdict.stderr) == (0, "")


def test_the_service_is_hardened(unit: Path) -> None:
    threshold = f"--threshold={MOST_EXPOSURE}"
    verdict = run("systemd-analyze", "security", "--offline=true", threshold, str(unit), check=False)
    assert verdict.returncode == 0, verdict.stdout[-400:]


def test_it_tells_systemd_when_it_is_ready_and_calls_nothing_that_the_unit_forbids(tmp_path: Path) -> None:
    """Start, reload and end, as systemd does them; what the kernel was asked for is held to the unit's own filter."""
    require_programs("strace", "systemd-analyze")
    assert "Type=notify" in UNIT.read_text()
    (tmp_path / "authd.yml").write_text(CONFIG.format(directory=tmp_path))
    for name in ("secret", "corp"):
        (tmp_path / name).write_text(b64encode(bytes(range(32))).decode())
        (tmp_path / name).chmod(0o600)
    calls = tmp_path / "calls"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (tmp_path / "log").open("w") as log:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        serve = [sys.executable, "-m", "authd.cli", "serve", "--config", str(tmp_path / "authd.yml")]
        process = subprocess.Popen(
            ["strace", "-f", "-qq", "-I", "2", "-o", str(calls), *serve],
            env={
                "PATH": "/usr/bin:/bin",
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "PYTHONPATH": str(UNIT.parents[2]),
            },
            stderr=log,
        )
        try:
            assert manager.recv(4096).startswith(b"READY=1"), (tmp_path / "log").read_text()
            assert (tmp_path / "authd.sock").is_socket()
            (master,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
            run("kill", "-HUP", str(master))
            _wait_for(tmp_path / "log", "config.accepted")
            run("kill", "-TERM", str(master))
            assert process.wait(30) in (0, -signal.SIGTERM), (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()
    asked = set(re.findall(r"^\d+ +(\w+)\(", calls.read_text(), re.MULTILINE))
    assert {"listen", "chown"} <= asked
    assert sorted(asked - _allowed("@system-service")) == []


def _wait_for(log: Path, event: str) -> None:
    run("timeout", "60", "sh", "-c", f"until grep -q {event} {log}; do sleep 0.2; done")


def _allowed(group: str) -> set[str]:
    """The system calls of one of systemd's groups, groups within it included."""
    lines = run("systemd-analyze", "syscall-filter", group).stdout.splitlines()[1:]
    names = {line.strip() for line in lines if line.strip() and not line.strip().startswith("#")}
    within = {name for name in names if name.startswith("@")}
    return (names - within).union(*(_allowed(name) for name in within))
