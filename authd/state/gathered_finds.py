"""Values that are looked for in the same turn of the event loop, or while another question is under way, are one
question to SQLite.

Python's module lets go of the interpreter for each row, and while the loop works a thread waits some milliseconds to
get it back. So all of a question comes as one row, and the fewer the questions, the less do both wait.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from functools import lru_cache
from typing import Any

from authd.state.gathering import MOST_TOGETHER

# For longer nobody waits behind a question that somebody else has asked: its disk may be slow.
_PATIENCE_SECONDS = 0.01
_Read = Callable[[Callable[[sqlite3.Connection], Any]], Coroutine[Any, Any, Any]]
_ONE = 'SELECT value FROM "values" WHERE kind = ? AND id = ? AND expires_at > ?'


class _Question:
    """Values of one kind, asked for together and at the same time, on the same loop."""

    __slots__ = ("answers", "context", "ids", "kind", "loop", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop, kind: str, now: int) -> None:
        self.loop, self.kind, self.now = loop, kind, now
        # Whoever asked first; not whoever was asked before, behind whom this one waited.
        self.context = copy_context()
        self.ids: list[str] = []
        self.answers: list[asyncio.Future[bytes | None]] = []

    def takes(self, loop: asyncio.AbstractEventLoop, kind: str, now: int) -> bool:
        """Whether one more of these can be asked for with the others."""
        return self.loop is loop and self.kind == kind and self.now == now and len(self.ids) < MOST_TOGETHER

    def ask(self, database: sqlite3.Connection) -> list[bytes | Exception | None]:
        """What is there for each. Where the file is damaged each is asked for alone: a page that cannot be read must
        not stop whoever is on another one. A file that is locked would be so for each, and each would wait for it."""
        try:
            return list(find_together(database, self.kind, self.ids, now=self.now))
        except sqlite3.Error as error:
            if type(error) is not sqlite3.DatabaseError:
                return [error] * len(self.ids)
            return [self._ask_for(id_, database) for id_ in self.ids]

    def _ask_for(self, id_: str, database: sqlite3.Connection) -> bytes | Exception | None:
        try:
            return find_together(database, self.kind, [id_], now=self.now)[0]
        except sqlite3.Error as error:
            return error

    def answer(self, asking: asyncio.Task[list[bytes | Exception | None]]) -> None:
        """Tell those who still wait."""
        if asking.cancelled():
            for answer in self.answers:
                answer.cancel()
            return
        error = asking.exception()
        found = asking.result() if error is None else [error] * len(self.answers)
        for answer, value in zip(self.answers, found, strict=True):
            if answer.done():
                continue
            if isinstance(value, BaseException):
                answer.set_exception(value)
            else:
                answer.set_result(value)


class GatheredFinds:
    """`read` runs a function of a connection elsewhere, as `SqliteStore` does."""

    def __init__(self, read: _Read) -> None:
        self._read = read
        # The newest last: the only one that takes more.
        self._waiting: list[_Question] = []
        self._under_way: set[asyncio.Task[list[bytes | Exception | None]]] = set()

    async def find(self, kind: str, id_: str, *, now: int) -> bytes | None:
        """See `Store.find`. Raises what `read` and SQLite raise."""
        loop = asyncio.get_running_loop()
        question = self._waiting[-1] if self._waiting else None
        if question is None or not question.takes(loop, kind, now):
            question = _Question(loop, kind, now)
            self._waiting.append(question)
            if self._under_way:
                loop.call_later(_PATIENCE_SECONDS, self._begin, question)
            else:
                loop.call_soon(self._begin, question)
        answer: asyncio.Future[bytes | None] = loop.create_future()
        question.ids.append(id_)
        question.answers.append(answer)
        return await answer

    def _begin(self, question: _Question) -> None:
        """Ask, unless that was done by now, or nobody waits for it any more."""
        if question not in self._waiting:
            return
        self._waiting.remove(question)
        if not all(answer.done() for answer in question.answers):
            task = question.loop.create_task(self._read(question.ask), context=question.context)
            self._under_way.add(task)
            task.add_done_callback(question.answer)
            task.add_done_callback(self._go_on)

    def _go_on(self, asked: asyncio.Task[list[bytes | Exception | None]]) -> None:
        self._under_way.discard(asked)
        for question in [each for each in self._waiting if each.loop is asked.get_loop()]:
            self._begin(question)


def find_together(database: sqlite3.Connection, kind: str, ids: Sequence[str], *, now: int) -> list[bytes | None]:
    """The values of these ids, None for each that is not there."""
    if len(ids) == 1:
        return [first_value(database.execute(_ONE, (kind, ids[0], now)).fetchone())]
    found: list[bytes | None] = [None] * len(ids)
    (text,) = database.execute(_render_question(len(ids)), (*ids, kind, now)).fetchone()
    for part in text.split(",") if text else ():
        place, _, value = part.partition(":")
        found[int(place)] = bytes.fromhex(value)
    return found


def first_value(row: tuple[object, ...] | None) -> bytes | None:
    """The value. SQLite keeps any type in any column: what is no blob is not ours, and opens never."""
    if row is None:
        return None
    return row[0] if isinstance(row[0], bytes) else b""


@lru_cache(maxsize=MOST_TOGETHER)
def _render_question(count: int) -> str:
    wanted = ", ".join(f"({place}, ?)" for place in range(count))
    return f"""
        WITH wanted (place, id) AS (VALUES {wanted})
        SELECT group_concat(place || ':' || CASE typeof(value) WHEN 'blob' THEN hex(value) ELSE '' END)
        FROM wanted JOIN "values" USING (id) WHERE kind = ? AND expires_at > ?"""  # noqa: S608 - nothing but numbers
