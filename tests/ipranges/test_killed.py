"""Case 21 of the promise list: killed anywhere, a full disk, a read-only directory, a file mounted alone.

The kill is exact: a run each is killed with SIGKILL right after one of its system calls that change a file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ipranges.config import FileTarget
from ipranges.errors import ApplyError, ExitCode
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.targets import build_file_format
from ipranges.targets.nftables import parse_table
from tests.ipranges.namespaces import list_table, require_programs, run
from tests.ipranges.world import World, message_of

MAIN = "from ipranges.cli import main; main()"
OLD, NEW = ["10.1.0.0/16", "10.2.0.0/16"], ["10.1.0.0/16", "10.3.0.0/16"]
SETS = [parse_network_set(OLD), parse_network_set(NEW)]
MOST_CALLS = 150


def command(world: World) -> list[str]:
    return [sys.executable, "-c", MAIN, "sync", "--quiet", "--config", str(world.directory / "ipranges.yml")]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}


def use_files(world: World, cidrs: list[str]) -> list[Path]:
    """Two files of one program and one of another, all of one static list."""
    world.sources = [{"name": "own", "type": "static", "cidrs": cidrs}]
    paths = [world.directory / "live" / name for name in ("a.txt", "b.json")]
    paths[0].parent.mkdir(exist_ok=True)
    world.targets = [
        {"type": kind, "path": str(path), "sources": ["own"], "reload": ["true"]}
        for kind, path in zip(("text", "json"), paths, strict=True)
    ]
    world.write_config()
    return paths


def read_whole(world: World) -> list[NetworkSet]:
    """What every live file holds; fails where one is neither whole old nor whole new."""
    found = []
    for target in world.config.targets:
        assert isinstance(target, FileTarget)
        text = Path(target.path).read_text()
        networks = build_file_format(target).parse(text)
        assert text == build_file_format(target).render(target.label, networks)
        found.append(networks)
    return found


class Killer:
    """A process that forks a run a time and lets it kill itself after its n-th call that changes a file."""

    def __init__(self, world: World) -> None:
        script = Path(__file__).with_name("kill_after.py")
        config = str(world.directory / "ipranges.yml")
        self._process = subprocess.Popen(
            [sys.executable, str(script), config], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )

    def run(self, number: int) -> str:
        """`killed <call>`, or `done <calls of each kind>` where the run has fewer calls than `number`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number}\n".encode())
        self._process.stdin.flush()
        return self._process.stdout.readline().decode().strip()

    def __enter__(self) -> Killer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)


def keep_snapshot(world: World) -> None:
    run("cp", "-a", str(world.directory / "live"), str(world.directory / "live-before"))
    run("cp", "-a", str(world.directory / "state"), str(world.directory / "state-before"))


def test_case_21_killed_after_every_system_call_that_changes_a_file(world: World) -> None:
    use_files(world, OLD)
    assert world.sync().exit_code == ExitCode.OK
    keep_snapshot(world)
    use_files(world, NEW)
    with Killer(world) as killer:
        for number in range(1, MOST_CALLS):
            _restore(world)
            said = killer.run(number)
            if said.startswith("done"):
                break
            assert said.startswith("killed"), said
            assert all(networks in SETS for networks in read_whole(world)), (number, said)
            report = world.sync()
            assert report.exit_code == ExitCode.OK, (number, said, report.targets)
            assert read_whole(world) == [SETS[1]] * 2, (number, said)
            assert world.store.list_notes("journal-") == []
            assert [p.name for p in (world.directory / "live").iterdir() if "ipranges-new" in p.name] == []
    assert 40 < number < MOST_CALLS - 1
    assert read_whole(world) == [SETS[1]] * 2


def test_case_21_the_counted_calls_are_those_that_the_kernel_sees(world: World) -> None:
    """What makes the test above complete: no rename, sync, removal or change of mode goes uncounted."""
    require_programs("strace")
    if run("strace", "-o", "/dev/null", "true", check=False).returncode:
        pytest.skip("strace may not trace here")
    use_files(world, OLD)
    world.sync()
    keep_snapshot(world)
    use_files(world, NEW)
    with Killer(world) as killer:
        counted = dict(pair.split("=") for pair in killer.run(MOST_CALLS).split()[1:])
    _restore(world)
    trace = world.directory / "trace"
    calls = "trace=rename,renameat,renameat2,unlink,unlinkat,fsync,fchmod,truncate,link,symlink"
    run_it = ["strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", str(trace), *command(world)]
    assert subprocess.run(run_it, env=environment(), timeout=60).returncode == 0
    seen: dict[str, int] = {}
    for line in trace.read_text().splitlines():
        if match := re.match(r"\d+\s+(\w+)\(", line):
            seen[match[1]] = seen.get(match[1], 0) + 1
    assert seen["rename"] == int(counted["replace"])
    assert seen["fsync"] == int(counted["fsync"])
    assert seen["unlink"] == int(counted["unlink"])
    # The lock file's mode is set by filelock, which has nothing to lose.
    assert seen["fchmod"] - int(counted["fchmod"]) in (0, 1)
    assert set(seen) <= {"rename", "fsync", "unlink", "fchmod"}


def _restore(world: World) -> None:
    for name in ("live", "state"):
        shutil.rmtree(world.directory / name)
        shutil.copytree(world.directory / f"{name}-before", world.directory / name)


def test_case_21_killed_between_the_swap_and_the_proof_the_next_run_reloads_again(world: World) -> None:
    """The file is right already, but whoever reads it may not have read it."""
    use_files(world, OLD)
    world.sync()
    use_files(world, NEW)
    log = world.directory / "reloads"
    for target in world.targets:
        target["reload"] = ["sh", "-c", f"echo $$ >> {log}; kill -9 $PPID"]
    world.write_config()
    code = subprocess.run(command(world), env=environment(), timeout=60).returncode
    assert code == -9
    assert SETS[1] in read_whole(world)
    for target in world.targets:
        target["reload"] = ["sh", "-c", f"echo again >> {log}"]
    assert world.sync().exit_code == ExitCode.OK
    assert log.read_text().count("again") == 2
    assert read_whole(world) == [SETS[1]] * 2


def test_case_21_after_an_interrupted_run_a_failing_reload_goes_back_to_the_list_before_it(world: World) -> None:
    path = use_files(world, OLD)[0]
    world.sync()
    before = path.read_text()
    use_files(world, NEW)
    world.targets[0]["reload"] = ["sh", "-c", "kill -9 $PPID"]
    world.write_config()
    subprocess.run(command(world), env=environment(), timeout=60)
    assert path.read_text() != before
    world.targets[0]["reload"] = ["sh", "-c", "exit 1"]
    world.targets = world.targets[:1]
    assert world.sync().exit_code == ExitCode.APPLY_FAILED
    assert path.read_text() == before


def test_case_21_killed_between_the_firewall_and_the_file(isolated_world: World) -> None:
    """nft is in, the file is not: the next run brings the file, and the firewall is whole at each instant."""
    world = isolated_world
    use_files(world, OLD)
    firewall = {"type": "nftables", "ports": [443], "sources": ["own"], "name": "firewall"}
    world.targets = [firewall, *world.targets]
    world.sync()
    world.sources[0]["cidrs"] = NEW
    world.targets[1]["test"] = ["sh", "-c", "kill -9 $PPID"]
    world.write_config()
    assert subprocess.run(command(world), env=environment(), timeout=60).returncode == -9
    assert parse_table(list_table())[0] == SETS[1]
    del world.targets[1]["test"]
    assert world.sync().exit_code == ExitCode.OK
    assert parse_table(list_table())[0] == SETS[1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 96 kB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or run("mount", "-t", "tmpfs", "-o", "size=96k", "none", str(place), check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    return place


def fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


def test_case_21_a_full_disk_keeps_the_old_list_and_says_so(world: World, small_disk: Path) -> None:
    try:
        path = use_files(world, OLD)[0]
        world.targets = world.targets[:1]
        world.targets[0]["path"] = str(small_disk / "list.txt")
        assert world.sync().exit_code == ExitCode.OK
        before = (small_disk / "list.txt").read_bytes()
        (small_disk / "filler").write_bytes(b"x" * 88 * 1024)
        world.sources[0]["cidrs"] = [f"10.{n}.0.0/24" for n in range(250)] + [f"10.{n}.9.0/24" for n in range(250)]
        report = world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        assert "the disk is full" in report.targets[0].message
        assert (small_disk / "list.txt").read_bytes() == before
        assert [p.name for p in small_disk.iterdir() if "new" in p.name] == []
        (small_disk / "filler").unlink()
        assert world.sync().exit_code == ExitCode.OK
        assert len((small_disk / "list.txt").read_text().splitlines()) == 502
        del path
    finally:
        run("umount", str(small_disk))


def test_case_21_a_full_state_disk_touches_nothing_live(world: World, small_disk: Path) -> None:
    try:
        use_files(world, OLD)
        world.settings["state_dir"] = str(small_disk / "state")
        world.sync()
        before = read_whole(world)
        fill(small_disk)
        world.sources[0]["cidrs"] = [f"10.{n}.{m}.0/24" for n in range(250) for m in (1, 3)]
        with pytest.raises(ApplyError, match="the disk is full"):
            world.sync()
        assert read_whole(world) == before
        (small_disk / "filler").unlink()
        world.sources[0]["cidrs"] = NEW
        assert world.sync().exit_code == ExitCode.OK
    finally:
        run("umount", str(small_disk))


def test_case_21_a_read_only_directory_is_told_with_what_to_do(world: World, small_disk: Path) -> None:
    try:
        use_files(world, OLD)
        world.targets[0]["path"] = str(small_disk / "list.txt")
        world.targets[0]["name"] = "list"
        world.sync()
        before = (small_disk / "list.txt").read_bytes()
        run("mount", "-o", "remount,ro", str(small_disk))
        world.sources[0]["cidrs"] = NEW
        report = world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        assert "read-only" in message_of(report, "list")
        assert (small_disk / "list.txt").read_bytes() == before
        assert message_of(report, f"json:{world.directory}/live/b.json") == ""
        run("mount", "-o", "remount,rw", str(small_disk))
        assert world.sync().exit_code == ExitCode.OK
    finally:
        run("umount", str(small_disk))


def test_case_21_a_file_that_is_mounted_alone_is_told_with_what_to_do(world: World) -> None:
    path = use_files(world, OLD)[0]
    world.sync()
    if os.geteuid() != 0 or run("mount", "--bind", str(path), str(path), check=False).returncode:
        pytest.skip("bind mounts are not permitted here")
    try:
        world.sources[0]["cidrs"] = NEW
        report = world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        assert "mount its directory instead" in report.targets[0].message
        assert read_whole(world) == [SETS[0], SETS[1]]
    finally:
        run("umount", str(path))
    assert world.sync().exit_code == ExitCode.OK


def test_a_link_is_followed_and_stays_a_link(world: World) -> None:
    path = use_files(world, OLD)[0]
    real = world.directory / "elsewhere.txt"
    path.symlink_to(real)
    real.write_text("")
    real.chmod(0o640)
    world.sync()
    assert path.is_symlink()
    assert "10.1.0.0/16" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
