"""Python's garbage collector, kept quiet while a configuration is built."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_collector() -> Iterator[None]:
    """Build many long-lived values without the collector walking all of them again and again.

    Nothing that is built here refers back to itself, so there is nothing to collect. Measured with
    ten thousand applications: 1.7 s instead of 2.9 s, the same memory (docs/adr/0012).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
