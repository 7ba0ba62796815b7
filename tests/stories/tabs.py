"""Several tabs of one browser, each of which goes on by one request at a time, in whatever order a story wants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import requests

from tests.harness.browser import Answer, Browser
from tests.harness.stack import Stack

# application, login, provider, callback, authorized, application: enough for two of them.
MAX_STEPS = 14


@dataclass(slots=True)
class Tab:
    """One tab. The browser's cookies are shared between tabs, and so is what the provider remembers."""

    stack: Stack
    browser: Browser
    at_provider: requests.Session
    wanted: str
    account: str = "alice"
    answer: Answer | None = field(default=None)
    steps: int = 0
    _next: str = ""

    def step(self) -> None:
        """The next request of this tab; nothing once a page is shown."""
        if self.is_done:
            return
        self.steps += 1
        assert self.steps <= MAX_STEPS, f"{self.wanted} leads in circles, at last to {self._next}"
        url = self._next or self.wanted
        if url.startswith(self.stack.provider.issuer):
            self._next = self.stack.provider.log_in(url, self.account, session=self.at_provider)
            return
        answer = self.browser.request(url)
        if answer.status == 302:
            self._next = answer.location
        else:
            self.answer = answer

    @property
    def is_done(self) -> bool:
        return self.answer is not None

    def finish(self) -> None:
        """All that is left, at once."""
        while not self.is_done:
            self.step()

    def check_page(self) -> None:
        """The page that was wanted is shown, as its person."""
        self.finish()
        assert self.answer is not None
        assert self.answer.status == 200, (self.wanted, self.answer.status, self.answer.text[:400])
        assert self.answer.url == self.wanted
        headers = dict(self.answer.json()["headers"])
        assert headers["Cf-Access-Authenticated-User-Email"] == f"{self.account}@example.com"


def open_tabs(stack: Stack, urls: Iterable[str]) -> list[Tab]:
    """Tabs of a fresh browser, none of which has asked for anything yet."""
    browser, at_provider = stack.browser(), requests.Session()
    return [Tab(stack, browser, at_provider, url) for url in urls]


def ask_all_at_once(tabs: list[Tab]) -> None:
    """Every first request leaves before any answer arrives, as when a browser restores its tabs."""
    for tab in tabs:
        shared, tab.browser = tab.browser, tab.stack.browser()
        tab.step()
        for host, jar in tab.browser.cookies.items():
            shared.cookies.setdefault(host, {}).update(jar)
        tab.browser = shared
