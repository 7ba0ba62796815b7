"""A document of a provider that is fetched now and then, and of which the last good one is kept.

An hour after it was fetched, a document is fetched again while logins go on with the old one; a
fetch that fails changes nothing until the old one is a day old. So a provider's bad hour costs
only what it must.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

FRESH_SECONDS = 3600
USABLE_SECONDS = 24 * 3600
# Between two fetches behind the visitor's back, when the first has failed.
RETRY_SECONDS = 30

_Document = TypeVar("_Document")


class LastGood(Generic[_Document]):
    """The last good document. `fetch` brings a new one or raises; `timer` is monotonic, in seconds.

    `on_failure` is told of every fetch that failed, also of those that nobody waits for.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[_Document]],
        *,
        timer: Callable[[], float],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._fetch = fetch
        self._timer = timer
        self._on_failure = on_failure
        self._document: _Document | None = None
        self._fetched_at = float("-inf")
        self._retry_at = float("-inf")
        self._running: asyncio.Task[_Document] | None = None

    async def get(self) -> _Document:
        """Return the document, at once if there is a usable one. Otherwise raises what `fetch` raises."""
        age_seconds = self._timer() - self._fetched_at
        if self._document is None or age_seconds >= USABLE_SECONDS:
            return await self.refresh()
        if age_seconds >= FRESH_SECONDS and self._timer() >= self._retry_at:
            self._start()
        return self._document

    async def refresh(self) -> _Document:
        """Fetch and return the document; one fetch at a time, whoever else asks waits for the same one."""
        # Shielded: a visitor who goes away must not take the fetch from those who wait with them.
        return await asyncio.shield(self._start())

    def peek(self) -> _Document | None:
        """The document as it stands, however old, or None."""
        return self._document

    def keep(self, document: _Document) -> None:
        """Take a document that came another way for fresh."""
        self._document = document
        self._fetched_at = self._timer()

    def _start(self) -> asyncio.Task[_Document]:
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())
            self._running.add_done_callback(self._finish)
        return self._running

    async def _run(self) -> _Document:
        document = await self._fetch()
        self.keep(document)
        return document

    def _finish(self, task: asyncio.Task[_Document]) -> None:
        self._running = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._retry_at = self._timer() + RETRY_SECONDS
            self._on_failure(error)
