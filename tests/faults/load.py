"""Visitors who keep asking while something happens."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.harness.browser import Browser


@dataclass(slots=True)
class Load:
    """What came back so far: `statuses`, 0 where no answer came, and how long the slowest took."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    is_over: bool = False

    @property
    def count(self) -> int:
        return sum(self.statuses.values())

    def ask(self, browser: Browser, url: str) -> None:
        began = time.monotonic()
        try:
            status = browser.request(url).status
        except OSError:
            status = 0
        self.statuses[status] += 1
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        browser.history.clear()


@contextmanager
def under_load(make_browser: Callable[[], Browser], url: str, *, visitors: int = 6) -> Iterator[Load]:
    """So many visitors, each asking again as soon as an answer is there, with 5 ms between."""
    load = Load()

    def visit() -> None:
        browser = make_browser()
        while not load.is_over:
            load.ask(browser, url)
            time.sleep(0.005)

    threads = [threading.Thread(target=visit) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.is_over = True
        for thread in threads:
            thread.join(30)
