"""What a thread finds in its queue when it comes to it: taken together, so that a group costs little more than one."""

from __future__ import annotations

import queue
from typing import TypeVar

_Item = TypeVar("_Item")
MOST_TOGETHER = 200


def gather_waiting(first: _Item, waiting: queue.SimpleQueue[_Item | None]) -> tuple[list[_Item], bool]:
    """`first`, which was taken already, and whatever waits behind it, MOST_TOGETHER at the most; and whether the end
    (None) was reached. Waits for nothing."""
    together = [first]
    while len(together) < MOST_TOGETHER:
        try:
            following = waiting.get_nowait()
        except queue.Empty:
            break
        if following is None:
            return together, True
        together.append(following)
    return together, False
