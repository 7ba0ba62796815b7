"""Writes that wait together are committed together.

A commit with `synchronous=FULL` waits for the disk. Fifty logins at once, each with a commit of its own, would queue
for longer than a call to the store may take; as one transaction they cost little more than one. Each write has a
savepoint, so that one that fails takes no other with it.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from authd.state.gathering import gather_waiting

_Result = TypeVar("_Result")
_Write = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]
# SQLite itself sleeps longer and longer, up to 100 ms: to starve beside another worker that writes all the time. So we
# look again soon, and whoever has more to write leaves a gap between two transactions that nobody overlooks.
_LOOK_AGAIN_SECONDS = 0.001
_GAP_SECONDS = 0.002


class GroupWriter:
    """A thread with the only writing connection of this process, which is in autocommit mode and is closed here."""

    def __init__(self, connection: sqlite3.Connection, *, patience_seconds: float) -> None:
        """`patience_seconds`: how long to wait for other processes that write to the same file."""
        self._connection = connection
        self._patience_seconds = patience_seconds
        self._gap_ends_at = 0.0
        connection.execute("PRAGMA busy_timeout=0")
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="authd-sqlite-write", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], _Result]) -> Future[_Result]:
        """Queue one write. Its future is done after the commit; cancelled before its turn, it does not happen."""
        future: Future[_Result] = Future()
        if self._thread.is_alive():
            self._waiting.put((work, future))
        else:
            future.set_exception(sqlite3.OperationalError("the store is closed"))
        return future

    def close(self) -> None:
        """Finish what is queued, and stop. Calling it twice is no error."""
        self._waiting.put(None)
        self._thread.join(timeout=1)

    def _run(self) -> None:
        ends = False
        while not ends and (first := self._waiting.get()) is not None:
            time.sleep(max(0.0, self._gap_ends_at - time.monotonic()))
            together, ends = gather_waiting(first, self._waiting)
            self._commit([write for write in together if write[1].set_running_or_notify_cancel()])
            self._gap_ends_at = time.monotonic() + _GAP_SECONDS
        self._connection.close()

    def _commit(self, writes: list[_Write]) -> None:
        """Nobody is told of a result before the commit; everybody is told of an error that ends the transaction."""
        results: list[tuple[Future[Any], Any]] = []
        try:
            self._begin()
            for work, future in writes:
                try:
                    results.append((future, self._run_one(work)))
                except sqlite3.Error as error:
                    if not self._connection.in_transaction:
                        raise  # a full disk, for example, ends the whole transaction by itself
                    future.set_exception(error)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a thread that died here would hold the lock on the file for ever
            self._fail(writes, error)
            return
        for future, result in results:
            future.set_result(result)

    def _begin(self) -> None:
        """Start the transaction. Raises sqlite3.OperationalError if the others do not let go of the file in time."""
        ends_at = time.monotonic() + self._patience_seconds
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                    raise
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _run_one(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        self._connection.execute("SAVEPOINT one")
        try:
            result = work(self._connection)
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO one")
                self._connection.execute("RELEASE one")
            raise
        self._connection.execute("RELEASE one")
        return result

    def _fail(self, writes: list[_Write], error: Exception) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()
        for _, future in writes:
            if not future.done():
                future.set_exception(error)
