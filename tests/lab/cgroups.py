"""A control group for each machine: its systemd must share none with another's, and its processes are found by it.

Works with version 1, version 2 and both at once (systemd's "hybrid"), whichever this machine has.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

_MOUNTED = Path("/sys/fs/cgroup")
# Of version 1: what systemd keeps its units in, and what tells how much memory they take.
_HIERARCHIES = {"name=systemd": "systemd", "memory": "memory"}


def is_writable() -> bool:
    """Whether groups can be made."""
    probe = f"authd-lab-probe-{os.getpid()}"
    try:
        for group in _paths(probe):
            group.mkdir()
    except OSError:
        return False
    finally:
        remove(probe)
    return bool(_paths(probe))


def within(name: str, command: Sequence[str]) -> list[str]:
    """The command line that runs a command in the group, which is made."""
    groups = _paths(name)
    for group in groups:
        group.mkdir(exist_ok=True)
    enter = "; ".join(f"echo $$ >'{group}/cgroup.procs'" for group in groups)
    return ["sh", "-c", f'{enter}; exec "$@"', "sh", *command]


def list_processes(name: str) -> set[int]:
    """All that run in the group and below it."""
    found: set[int] = set()
    for group in _paths(name):
        for listed in group.rglob("cgroup.procs") if group.exists() else ():
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in listed.read_text().split()}
    return found - {0}


def read_memory_bytes(name: str) -> int | None:
    """What the group takes, its files in memory among it; None where nobody counts."""
    for file in ("memory.current", "memory.usage_in_bytes"):
        for group in _paths(name):
            if (group / file).exists():
                return int((group / file).read_text())
    return None


def remove(name: str) -> None:
    """The group and all below it. One whose last process is still being buried is tried for a moment."""
    deadline = time.monotonic() + 5
    while left := [group for group in _paths(name) if group.exists()]:
        for group in left:
            for directory, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _paths(name: str) -> list[Path]:
    """Where the group is or would be, below the one of this process."""
    unified = "unified" if (_MOUNTED / "unified").is_dir() else ""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            mounted = _MOUNTED / _HIERARCHIES.get(controller, unified)
            if (controller in _HIERARCHIES or not controller) and (mounted / "cgroup.procs").exists():
                found.append(mounted / path.lstrip("/") / name)
    return found
