"""A total deadline. Timeouts of sockets count each read anew: a server that drips one byte a second
would hold a run for hours, and a resolver that hangs has no timeout at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ipranges.errors import FetchError

T = TypeVar("T")


class Deadline:
    """A point in time, on the clock that nobody sets back."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds

    @property
    def remaining_seconds(self) -> float:
        return self._ends_at - time.monotonic()

    def verify_not_over(self) -> None:
        """Raises FetchError once the time is up."""
        if self.remaining_seconds <= 0:
            raise FetchError(f"no complete answer within {self.seconds:g} s")


def run_within(deadline: Deadline, work: Callable[[], T]) -> T:
    """The result of `work`, or FetchError when the time is up. Errors of `work` come through.

    The thread that is given up on is a daemon: it ends with the process, and its result is dropped.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  (carried over to the caller's thread, whatever it is)
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="ipranges-fetch")
    thread.start()
    thread.join(max(deadline.remaining_seconds, 0))
    if errors:
        raise errors[0]
    if not results:
        raise FetchError(f"no complete answer within {deadline.seconds:g} s")
    return results[0]
