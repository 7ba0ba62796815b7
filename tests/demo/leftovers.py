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
    if not _signal_group(group, signal.SIGTERM):
        return False
    deadline = time.monotonic() + _GRACE_SECONDS
    while _signal_group(group, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_group(group)
    return True


def kill_group(group: int) -> None:
    """Kill what is left of a group; nothing happens where nothing is."""
    _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


def _find_start_time(pid: int) -> str | None:
    """In clock ticks since boot: field 22 of /proc/PID/stat, see proc(5)."""
    try:
        # The second field is the command in parentheses, and may hold spaces itself.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
