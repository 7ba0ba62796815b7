"""Reads that wait together are made together.

A thread for each read, or one that is woken for each, costs several times what SQLite needs to find a row. Whatever
waits when the thread comes to it is read in one go, and the event loop is told once.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from authd.state.gathering import gather_waiting

_Result = TypeVar("_Result")


class _Read:
    """One read on its way: `done` is the loop's; the thread sets `answer`, a result or an error."""

    __slots__ = ("answer", "done", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], done: asyncio.Future[Any]) -> None:
        self.work = work
        self.done = done
        self.answer: tuple[Any, Exception | None] | None = None

    def deliver(self) -> None:
        """Tell whoever waits, if anybody does any more."""
        if self.answer is None or self.done.done():
            return
        result, error = self.answer
        if error is None:
            self.done.set_result(result)
        else:
            self.done.set_exception(error)

    def expire(self) -> None:
        """The time is over. On a busy machine the loop sees that and the answer, which came before, at once."""
        self.deliver()
        if not self.done.done():
            self.done.set_exception(TimeoutError())


class GroupReader:
    """A thread with a connection for reading, which is closed here."""

    def __init__(self, connection: sqlite3.Connection, *, before: Callable[[], None]) -> None:
        """`before` is called before each group; what it raises is the answer to all of it."""
        self._connection = connection
        self._before = before
        self._waiting: queue.SimpleQueue[_Read | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="authd-sqlite-read", daemon=True)
        self._thread.start()

    async def read(self, work: Callable[[sqlite3.Connection], _Result], *, deadline_seconds: float) -> _Result:
        """What `work` gives back. Raises what it raises, and TimeoutError after `deadline_seconds`; one that nobody
        waits for any more is not begun."""
        if not self._thread.is_alive():
            raise sqlite3.OperationalError("the store is closed")
        loop = asyncio.get_running_loop()
        read = _Read(work, loop.create_future())
        timer = loop.call_later(deadline_seconds, read.expire)
        self._waiting.put(read)
        try:
            result: _Result = await read.done
        finally:
            timer.cancel()
        return result

    def close(self) -> None:
        """Finish what is queued, and stop. Calling it twice is no error."""
        self._waiting.put(None)
        self._thread.join(timeout=1)

    def _run(self) -> None:
        ends = False
        while not ends and (first := self._waiting.get()) is not None:
            together, ends = gather_waiting(first, self._waiting)
            self._answer(together)
            for loop in {read.done.get_loop() for read in together}:
                _tell(loop, [read for read in together if read.done.get_loop() is loop])
        self._connection.close()

    def _answer(self, reads: list[_Read]) -> None:
        try:
            self._before()
        except Exception as error:  # noqa: BLE001 - whoever waits is to hear of it
            for read in reads:
                read.answer = None, error
            return
        for read in reads:
            if read.done.done():
                continue
            try:
                read.answer = read.work(self._connection), None
            except Exception as error:  # noqa: BLE001 - as above, and the thread goes on
                read.answer = None, error


def _tell(loop: asyncio.AbstractEventLoop, reads: list[_Read]) -> None:
    def deliver() -> None:
        for read in reads:
            read.deliver()

    try:
        loop.call_soon_threadsafe(deliver)
    except RuntimeError:  # the loop is closed: nobody waits there any more
        return
