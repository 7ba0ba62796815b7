"""Waiting for something to become true, and measuring how long that took."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_SECONDS = 15.0


def wait_until(is_so: Callable[[], object], what: str, seconds: float = LONGEST_SECONDS) -> float:
    """Ask again and again; how many seconds passed until it was so. Fails with `what` when it never is."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started
