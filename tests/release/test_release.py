"""The bundle, and the program that installs it, in a directory of the tests' own. With systemd: tests/lab."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.authd.test_service_unit import CONFIG
from tests.release.bundles import ROOT, ensure_bundle, version_of

pytestmark = pytest.mark.slow
SOURCES = ROOT / "ansible/release"


@pytest.fixture(scope="session")
def one() -> Path:
    return ensure_bundle("one")


@pytest.fixture(scope="session")
def two() -> Path:
    return ensure_bundle("two")


@dataclass(frozen=True, slots=True)
class Installed:
    """A directory in which one version was installed and then the other: over what a broken run had left, and older
    releases. `first` and `second` are what the program said."""

    directory: Path
    first: dict[str, object]
    second: dict[str, object]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, one: Path, two: Path) -> Installed:
    machine = make_machine(tmp_path_factory.mktemp("installed"))
    for name in ("0.0.1", "0.0.2", "0.0.3", version_of(one)):
        (machine / "root/opt/authd/releases" / name / "bin").mkdir(parents=True)
        (machine / "root/opt/authd/releases" / name / "bin/python").write_text("half")
    first = must(machine, "install", one)
    with sqlite3.connect(machine / "authd.db") as store:
        store.execute("CREATE TABLE mark (x)")
    return Installed(machine, first, must(machine, "install", two))


@pytest.fixture
def machine(installed: Installed, two: Path) -> Path:
    """The machine, with the second version current."""
    if running_version(installed.directory) != version_of(two):
        must(installed.directory, "rollback")
    return installed.directory


def make_machine(directory: Path) -> Path:
    (directory / "root").mkdir()
    (directory / "authd.yml").write_text(CONFIG.format(directory=directory))
    for name in ("secret", "corp"):
        (directory / name).write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        (directory / name).chmod(0o600)
    return directory


def run(machine: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    options = ["--root", machine / "root", "--config", machine / "authd.yml", "--json"]
    command = [sys.executable, "-m", "authd_release.cli", *options, *arguments]
    return subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, timeout=200, check=False, env=environment
    )


def must(machine: Path, *arguments: str | Path) -> dict[str, object]:
    done = run(machine, *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def running_version(machine: Path) -> str:
    command = [str(machine / "root/usr/local/bin/authd"), "version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]


def repacked(bundle: Path, directory: Path, change: Callable[[Path], object]) -> Path:
    """The bundle with something changed in it."""
    shutil.rmtree(directory, ignore_errors=True)
    with tarfile.open(bundle) as archive:
        archive.extractall(directory)
    (inside,) = directory.iterdir()
    change(inside)
    path = directory.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(inside, inside.name)
    return path


def test_versions_lie_side_by_side_and_a_link_chooses(
    installed: Installed, machine: Path, one: Path, two: Path
) -> None:
    first, second = version_of(one), version_of(two)
    assert (installed.first["version"], installed.first["before"], installed.first["changed"]) == (first, None, True)
    assert (installed.second["version"], installed.second["before"], installed.second["changed"]) == (
        second,
        first,
        True,
    )
    assert must(machine, "install", two)["changed"] is False
    status = must(machine, "status")
    assert (status["version"], status["previous"]) == (second, first)
    assert must(machine, "rollback")["version"] == first
    assert running_version(machine) == first
    assert must(machine, "rollback")["version"] == second
    assert running_version(machine) == second


def test_the_unit_and_the_commands_come_along(machine: Path) -> None:
    unit = machine / "root/etc/systemd/system/authd.service"
    assert unit.read_text() == (ROOT / "authd/systemd/authd.service").read_text()
    assert (machine / "root/usr/local/bin/ipranges").resolve().is_file()


def test_the_bundle_brings_the_program_that_installs_it(machine: Path, two: Path, tmp_path: Path) -> None:
    with tarfile.open(two) as archive:
        archive.extract(f"authd-{version_of(two)}/authd-release", tmp_path)
    program = tmp_path / f"authd-{version_of(two)}/authd-release"
    assert program.stat().st_mode & 0o111
    done = subprocess.run(
        [sys.executable, program, "--root", machine / "root", "status"], capture_output=True, text=True, check=True
    )
    assert f"version: {version_of(two)}" in done.stdout


def test_staging_goes_on_with_what_runs(machine: Path, one: Path, two: Path) -> None:
    assert must(machine, "--dry-run", "stage", one) == {
        "version": version_of(one),
        "changed": False,
        "restart": False,
    }
    assert must(machine, "--dry-run", "switch", version_of(one))["changed"] is True
    assert must(machine, "--dry-run", "switch", version_of(two))["changed"] is False
    assert running_version(machine) == version_of(two)
    assert run(machine, "switch", "9.9").stderr == "authd-release: 9.9 is not installed\n"


def test_the_bundle_is_all_that_is_needed(machine: Path, one: Path) -> None:
    python = machine / "root/opt/authd/current/bin/python"
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "check"], capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stdout
    with tarfile.open(one) as archive:
        names = archive.getnames()
    assert {Path(name).suffix for name in names if "/wheels/" in name} == {".whl"}
    # Debian's Python 3.11.2 needs it, a later 3.11 does not: the patch of the machine that builds must not matter.
    assert any("/async_timeout-" in name for name in names)


def test_a_backup_of_the_store_is_made_before_the_switch(installed: Installed) -> None:
    backup = Path(str(installed.second["backup"]))
    assert backup.parent == installed.directory / "root/var/backups/authd"
    assert (backup.stat().st_mode & 0o777, backup.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    with sqlite3.connect(backup) as store:
        store.execute("SELECT x FROM mark")


def test_old_releases_go(installed: Installed, one: Path, two: Path) -> None:
    kept = {path.name for path in (installed.directory / "root/opt/authd/releases").iterdir()}
    assert {version_of(one), version_of(two)} < kept
    assert len(kept) == 3


def test_a_configuration_that_the_other_version_refuses_changes_nothing(machine: Path, two: Path) -> None:
    config = machine / "authd.yml"
    good = config.read_text()
    config.write_text(good.replace("decision: allow", "decision: alow"))
    done = run(machine, "rollback")
    config.write_text(good)
    assert (done.returncode, "refuses the configuration, nothing was changed" in done.stderr) == (1, True)
    assert "alow" in done.stderr
    assert running_version(machine) == version_of(two)


def test_bundles_that_are_not_whole_or_not_for_here_are_refused(one: Path, tmp_path: Path) -> None:
    machine = make_machine(tmp_path)

    def spoil(inside: Path) -> None:
        wheel = next((inside / "wheels").glob("authd-*.whl"))
        wheel.write_bytes(wheel.read_bytes() + b"x")

    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(one.read_bytes()[:-100_000])
    cases = {
        repacked(one, tmp_path / "spoilt", spoil): "could not be installed, nothing was changed",
        repacked(one, tmp_path / "other", lambda it: (it / "PLATFORM").write_text("python3.9 m68k")): "python3.9 m68k",
        repacked(one, tmp_path / "empty", lambda it: (it / "VERSION").unlink()): "is no release of authd",
        repacked(one, tmp_path / "link", lambda it: (it / "up").symlink_to("/etc")): "is no release of authd",
        cut: "cannot be read as a release of authd",
        tmp_path / "none.tar.gz": "cannot be read as a release of authd",
    }
    for bundle, told in cases.items():
        done = run(machine, "install", bundle)
        assert (done.returncode, told in done.stderr) == (1, True), (bundle, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (machine / "root/opt/authd/current").exists()
    assert must(machine, "status")["installed"] == []


def test_the_same_version_from_another_bundle_is_refused(machine: Path, two: Path, tmp_path: Path) -> None:
    def change(inside: Path) -> None:
        lock = inside / "requirements.lock"
        lock.write_text(lock.read_text() + "\n")

    done = run(machine, "install", repacked(two, tmp_path / "again", change))
    assert (done.returncode, "is installed from another bundle" in done.stderr) == (1, True)


def test_nothing_to_go_back_to_is_one_sentence(tmp_path: Path) -> None:
    machine = make_machine(tmp_path)
    assert run(machine, "rollback").stderr == "authd-release: there is no version before this one to go back to\n"
    assert run(machine, "nonsense").returncode == 2
