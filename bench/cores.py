"""A core for whoever measures: what it measures must not wait for it, nor it for that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def keep_apart() -> Iterator[None]:
    """Keep this process on one core, and all that it has started until now on the others; afterwards let each run
    anywhere again. Where there is but one core nothing is done."""
    all_cores = os.sched_getaffinity(0)
    mine = {max(all_cores)}
    if len(all_cores) == 1:
        yield
        return
    _place(mine, all_cores - mine)
    try:
        yield
    finally:
        _place(all_cores, all_cores)


def _place(mine: set[int], theirs: set[int]) -> None:
    os.sched_setaffinity(0, mine)
    for pid in _list_descendants(os.getpid()):
        for thread in _list_threads(pid):
            # Whatever has ended meanwhile needs no core.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, theirs)


def _list_descendants(pid: int) -> list[int]:
    found = []
    for thread in _list_threads(pid):
        with contextlib.suppress(FileNotFoundError):
            found += [int(each) for each in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    return found + [deeper for each in found for deeper in _list_descendants(each)]


def _list_threads(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]
    return []
