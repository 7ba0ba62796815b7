"""What tries Redis' files before they replace the old ones, with the real redis-server: what it accepts and refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.certificates import ensure_certificates
from tests.ipranges.namespaces import require_programs

PROGRAM = Path(__file__).parents[2] / "ansible/roles/redis/files/authd-redis-check"
DEFAULT = "user default off ~* &* +@all\n"
GOOD_USERS = f"{DEFAULT}user authd on >a-password-of-32-characters-or-so ~{{authd}}:* -@all +get +set\n"
GOOD = "bind 127.0.0.1\nprotected-mode no\nport 6379\nmaxmemory 10mb\nmaxmemory-policy noeviction\nappendonly yes\n"


def check(directory: Path, users: str, configuration: str | None, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "users").write_text(users)
    files = ["--users", str(directory / "users")]
    if configuration is not None:
        (directory / "redis.conf").write_text(configuration)
        files.append(str(directory / "redis.conf"))
    command = [sys.executable, str(PROGRAM), *files, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(autouse=True)
def _redis() -> None:
    require_programs("redis-server")


@pytest.fixture
def tls(tmp_path: Path) -> str:
    """The lines of a configuration with TLS."""
    (tmp_path / "tls").mkdir()
    ensure_certificates(tmp_path / "tls", ["redis.example.com"])
    names = {"tls-cert-file": "server.pem", "tls-key-file": "server.key", "tls-ca-cert-file": "ca.pem"}
    return "port 0\ntls-port 6379\n" + "".join(f"{key} {tmp_path}/tls/{name}\n" for key, name in names.items())


@pytest.mark.parametrize("configuration", [None, GOOD, f"{GOOD}replicaof 192.0.2.1 6379\nmasterauth something\n"])
def test_what_is_good_is_accepted_and_leaves_nothing(configuration: str | None, tmp_path: Path) -> None:
    done = check(tmp_path, GOOD_USERS, configuration)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} <= {"users", "redis.conf"}


def test_a_certificate_is_read_and_one_of_another_key_refused(tls: str, tmp_path: Path) -> None:
    assert check(tmp_path, GOOD_USERS, tls).returncode == 0
    key = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*key, "-out", tmp_path / "tls/server.key"], check=True, capture_output=True)
    done = check(tmp_path, GOOD_USERS, tls)
    assert (done.returncode, "redis-server does not start" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("users", "configuration", "told"),
    [
        (GOOD_USERS, GOOD.replace("maxmemory 10mb", "maxmemoryy 10mb"), "Bad directive"),
        (GOOD_USERS, GOOD.replace("10mb", "much"), "argument must be a memory value"),
        (GOOD_USERS, GOOD.replace("127.0.0.1", "203.0.113.9"), "Cannot assign requested address"),
        (GOOD_USERS, f"{GOOD}include /nowhere/else.conf\n", "/nowhere/else.conf"),
        (GOOD_USERS.replace("+get", "+nonsense"), None, "Unknown command or category name in ACL"),
        (GOOD_USERS.replace("+get", "+nonsense"), GOOD, "Unknown command or category name in ACL"),
        (GOOD_USERS.replace(DEFAULT, "user default off\n"), None, "forget at its next start"),
        (GOOD_USERS.replace("+@all", "+get"), GOOD, "forget at its next start"),
        (GOOD_USERS[:10], None, "lets everybody in without a password"),
        ("user default on nopass ~* +@all\n", GOOD, "lets everybody in without a password"),
        ("", None, "lets everybody in without a password"),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(
    users: str, configuration: str | None, told: str, tmp_path: Path
) -> None:
    done = check(tmp_path, users, configuration)
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("users", "configuration"),
    [
        (GOOD_USERS, f"{GOOD}masterauth a-secret of-more-words\n"),
        (GOOD_USERS.replace(">a-password-of-32", "#a-secret-no-hash"), GOOD),
    ],
)
def test_no_password_is_in_the_sentence(users: str, configuration: str, tmp_path: Path) -> None:
    done = check(tmp_path, users, configuration)
    assert (done.returncode, "a-secret" in done.stderr) == (1, False), done.stderr


@pytest.mark.parametrize("behaviour", ["exit 0", "sleep 3; exit 1"], ids=["ends well", "ends late"])
def test_a_server_that_ends_has_accepted_nothing(behaviour: str, tmp_path: Path) -> None:
    """The real one cannot be brought to it with these options; a check that only waits takes both for good."""
    program = tmp_path / "server"
    program.write_text(f"#!/bin/sh\n{behaviour}\n")
    program.chmod(0o755)
    done = check(tmp_path, GOOD_USERS, GOOD, "--server", str(program))
    assert (done.returncode, "redis-server does not start" in done.stderr) == (1, True), done.stderr


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, "--users", tmp_path / "no"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"authd-redis-check: {tmp_path}/no is no file\n")
    usage = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
