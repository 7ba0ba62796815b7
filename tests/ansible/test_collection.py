"""The collection as it is shipped: it builds, says what it wants, and agrees with what it deploys."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from authd import serve
from tests.ipranges.namespaces import require_programs, run

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "ansible"
ENVIRONMENT = ROOT / ".cache/ansible"
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())
MOST_EXPOSURE = 29


def ansible(command: str, *arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "ANSIBLE_HOME": str(home), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
    whole = [str(ENVIRONMENT / "bin/python"), str(ENVIRONMENT / "bin" / command), *map(str, arguments)]
    return subprocess.run(
        whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, env=variables
    )


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_it_builds_and_installs(tmp_path: Path) -> None:
    built = ansible("ansible-galaxy", "collection", "build", COLLECTION, "--output-path", tmp_path, home=tmp_path)
    assert built.returncode == 0, built.stderr
    (package,) = tmp_path.glob("authd-authd-*.tar.gz")
    with tarfile.open(package) as archive:
        names = set(archive.getnames())
    assert {f"roles/{role}/tasks/main.yml" for role in ROLES} <= names
    assert not [name for name in names if name.startswith((".ansible", "requirements", "collections"))]
    options = ["--offline", "--no-deps", "-p", tmp_path / "installed"]
    installed = ansible("ansible-galaxy", "collection", "install", package, *options, home=tmp_path)
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / "installed/ansible_collections/authd/authd/roles/authd/README.md").is_file()


@pytest.mark.parametrize("role", ROLES)
def test_each_role_says_what_it_wants(role: str) -> None:
    directory = COLLECTION / "roles" / role
    assert (directory / "README.md").read_text().startswith(f"# {role}\n")
    specification = load(directory / "meta/argument_specs.yml")["argument_specs"]["main"]
    own = {name for name in specification["options"] if name.startswith(f"{role}_")}
    defaults = directory / "defaults/main.yml"
    given = {name for name in (load(defaults) if defaults.exists() else {}) if name != "release_directory"}
    wanted = {name for name in own if "default" in specification["options"][name]}
    assert given == wanted


@pytest.mark.parametrize("inventory", ["one-machine.yml", "two-edges.yml"])
def test_the_example_is_one_that_ansible_reads(inventory: str, tmp_path: Path) -> None:
    collections = tmp_path / "ansible_collections/authd"
    collections.mkdir(parents=True)
    (collections / "authd").symlink_to(COLLECTION)
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(tmp_path)
    try:
        options = ["-i", COLLECTION / "inventory" / inventory, "--syntax-check"]
        checked = ansible("ansible-playbook", *options, COLLECTION / "playbook.example.yml", home=tmp_path)
    finally:
        del os.environ["ANSIBLE_COLLECTIONS_PATH"]
    assert checked.returncode == 0, checked.stderr


def test_what_a_reload_cannot_change_is_what_the_program_says() -> None:
    named = load(COLLECTION / "roles/authd/vars/main.yml")["authd_fixed_at_start"]
    assert sorted(named) == sorted(serve._FIXED_AT_START)


def test_the_rights_in_redis_are_those_of_the_manual() -> None:
    (documented,) = re.findall(r"ACL SETUSER authd on >PASSWORD (.*)", (ROOT / "docs/redis.md").read_text())
    assert load(COLLECTION / "roles/redis/vars/main.yml")["redis_authd_rights"].split() == documented.split()


@pytest.mark.parametrize("name", ["origin_lockdown/files/authd-lockdown", "nginx_edge/files/authd-acme"])
def test_units_of_the_roles_are_hardened(name: str) -> None:
    require_programs("systemd-analyze")
    unit = COLLECTION / "roles" / f"{name}.service"
    verdict = run(
        "systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", str(unit), check=False
    )
    assert verdict.returncode == 0, verdict.stdout[-400:]


@pytest.mark.parametrize(
    "program",
    [
        "nginx_edge/files/authd-acme",
        "nginx_edge/files/authd-nginx-apply",
        "origin_lockdown/files/authd-lockdown",
        "redis/files/authd-redis-check",
    ],
    ids=lambda it: it.rpartition("/")[2],
)
def test_each_program_explains_itself(program: str) -> None:
    path = COLLECTION / "roles" / program
    said = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("usage:")
    assert path.stat().st_mode & 0o111


_SECRETS = re.compile(
    r"\bauthd_secret\b|authd_secret_files|\.key\b|redis_password|redis_replication_password|certificate_key"
    r"|authd\.acl\.j2|redis-authd\.conf\.j2|sentinel\.conf\.j2"
)


def test_no_task_tells_a_secret() -> None:
    """What holds a secret is written by a task that logs nothing, or is a `secret` of our own module."""
    loud = []
    for path in (COLLECTION / "roles").glob("*/tasks/*.yml"):
        for task in load(path):
            told = str({key: value for key, value in task.items() if key not in ("name", "when", "fail_msg")})
            writes = any(module in task for module in ("ansible.builtin.copy", "ansible.builtin.template"))
            if writes and _SECRETS.search(told) and not task.get("no_log"):
                loud.append(f"{path.parent.parent.name}: {task['name']}")
    for path in [*(COLLECTION / "roles").glob("*/tasks/*.yml"), *(COLLECTION / "roles").glob("*/vars/*.yml")]:
        contents = re.findall(r"(?<![a-z_.])'?content'?: (.*)", path.read_text())
        loud += [f"{path}: {content}" for content in contents if _SECRETS.search(content)]
    assert loud == []


def test_every_secret_is_one_of_the_module() -> None:
    """What the test above looks for is there at all: each of these is written as a secret."""
    text = "".join(path.read_text() for path in (COLLECTION / "roles").glob("*/vars/*.yml"))
    written = re.findall(r"'?secret'?: (.*)", text)
    for name in ("pair.key", "redis_certificate_key", "authd.acl.j2", "redis-authd.conf.j2", "secret | trim"):
        assert any(name in line for line in written), name
