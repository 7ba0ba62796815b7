"""What an earlier run that was killed has left behind: its processes, found by what it wrote down of each."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.demo.settings import DemoError

_GRACE_SECONDS = 5.0


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Raises DemoError while another demonstration runs in this directory. The kernel lifts the lock of a dead one."""
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip()
            raise DemoError(
                f"The demonstration is running already (process {owner}). End it with Ctrl-C there, or: kill {owner}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def remember(run_directory: Path, name: str, pid: int) -> None:
    """Write down a process that leads a group, so that a later run can find it."""
    started = _find_start_time(pid)
    if started is not None:
        (run_directory / f"{name}.process").write_text(f"{pid} {started}")


def forget(run_directory: Path) -> None:
    for record in run_directory.glob("*.process"):
        record.unlink()


def end_leftovers(run_directory: Path) -> list[str]:
    """End the groups that are written down and still alive; their names. The caller holds the lock."""
    ended = []
    for record in sorted(run_directory.glob("*.process")):
        pid, _, started = record.read_text().partition(" ")
        now_started = _find_start_time(int(pid))
        # A leader that began at another time is a stranger with a number that was used again. Without a
        # leader the number cannot have been given away while members of the group live.
        if now_started in (None, started) and _end_group(int(pid)):
            ended.append(record.stem)
    forget(run_directory)
    return ended


def _end_group(group: int) -> bool:
    """Whether there was anything to end."""
    if not _is_alive(group):
        return False
    _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while _is_alive(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_group(group)
    return True


def kill_group(group: int) -> None:
    """Kill what is left of a group; nothing happens where nothing is."""
    _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _is_alive(group: int) -> bool:
    """Whether a process of the group runs. One that ended and was not asked for its exit code yet does not."""
    states = (_read_stat(path.name) for path in Path("/proc").glob("[0-9]*"))
    return any(fields[0] != "Z" and int(fields[2]) == group for fields in states if fields)


def _find_start_time(pid: int) -> str | None:
    """In clock ticks since boot."""
    fields = _read_stat(pid)
    return fields[19] if fields else None


def _read_stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on (state, parent, group, ...; see proc(5)); none if it is gone."""
    try:
        # The second field is the command in parentheses, and may hold spaces itself.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
