"""What is looked for together is one question, and each gets its own answer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authd.state.gathered_finds import GatheredFinds, find_together
from authd.state.gathering import MOST_TOGETHER

_TABLE = 'CREATE TABLE "values" (kind TEXT, id TEXT, value BLOB, expires_at INTEGER)'


class Asked:
    """A database, and what it was asked. While the `gate` is shut nothing is answered."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.execute(_TABLE)
        self.statements: list[str] = []
        self.database.set_trace_callback(self.statements.append)
        self.gate = asyncio.Event()
        self.gate.set()
        self.finds = GatheredFinds(self.read)

    async def read(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        await self.gate.wait()
        return work(self.database)

    def put(self, id_: str, value: object, *, kind: str = "session", expires_at: int = 100) -> None:
        self.database.execute('INSERT INTO "values" VALUES (?, ?, ?, ?)', (kind, id_, value, expires_at))
        self.statements.clear()

    async def find(self, *ids: str, kind: str = "session", now: int = 50) -> list[object]:
        finding = (self.finds.find(kind, id_, now=now) for id_ in ids)
        return await asyncio.gather(*finding, return_exceptions=True)


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.database.close()


async def test_one_question_for_all_of_a_turn(asked: Asked) -> None:
    for number in range(150):
        asked.put(f"id{number}", b"\x00value,%d:" % number)

    found = await asked.find(*(f"id{number}" for number in reversed(range(150))), "id3", "none")

    assert found == [b"\x00value,%d:" % number for number in reversed(range(150))] + [b"\x00value,3:", None]
    assert len(asked.statements) == 1


@pytest.mark.parametrize("id_", ["", "a:b", "a,b", "1:FF", "'", '"', "a\x00b", "\N{SNOWMAN}", "?", "%s"])
async def test_whatever_an_id_is_it_is_found_and_no_other(asked: Asked, id_: str) -> None:
    asked.put(id_, b"this")
    asked.put("a", b"other")

    assert await asked.find(id_, id_ + "x", "a") == [b"this", None, b"other"]


async def test_kinds_and_times_are_kept_apart(asked: Asked) -> None:
    asked.put("id", b"session")
    asked.put("id", b"code", kind="code")

    found = await asyncio.gather(
        asked.finds.find("session", "id", now=50),
        asked.finds.find("code", "id", now=50),
        asked.finds.find("session", "id", now=100),
    )

    assert found == [b"session", b"code", None]


@pytest.mark.parametrize("ids", [["text"], ["text", "number", "id"]])
async def test_what_is_no_blob_is_empty(asked: Asked, ids: list[str]) -> None:
    asked.put("text", "not ours")
    asked.put("number", 5)
    asked.put("id", b"ours")

    assert await asked.find(*ids) == [b"" if id_ != "id" else b"ours" for id_ in ids]


async def test_an_error_about_one_is_nobody_elses(asked: Asked) -> None:
    class Torn(sqlite3.Connection):
        """One page of it cannot be read."""

        def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
            if "torn" in values:
                raise sqlite3.DatabaseError("malformed")
            return super().execute(statement, values)

    asked.database = sqlite3.connect(":memory:", factory=Torn)
    asked.database.execute(_TABLE)
    asked.put("whole", b"value")

    whole, torn, none = await asked.find("whole", "torn", "none")

    assert (whole, none) == (b"value", None)
    assert isinstance(torn, sqlite3.DatabaseError)
    (alone,) = await asked.find("torn")
    assert isinstance(alone, sqlite3.DatabaseError)


async def test_a_locked_file_is_asked_once_and_not_for_each(asked: Asked) -> None:
    class Locked(sqlite3.Connection):
        """Each attempt waits for the lock before it gives up."""

        attempts = 0

        def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
            if "SELECT" in statement:
                Locked.attempts += 1
                raise sqlite3.OperationalError("database is locked")
            return super().execute(statement, values)

    asked.database = sqlite3.connect(":memory:", factory=Locked)

    answers = await asked.find("one", "other", "third")

    assert [type(answer) for answer in answers] == [sqlite3.OperationalError] * 3
    assert Locked.attempts == 1


async def test_while_a_question_is_under_way_all_that_come_wait_for_one_more(asked: Asked) -> None:
    ids = [f"id{number}" for number in range(9)]
    for id_ in ids:
        asked.put(id_, id_.encode())
    asked.gate.clear()
    finding = []
    for id_ in ids:
        finding.append(asyncio.create_task(asked.find(id_)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asked.gate.set()

    assert await asyncio.gather(*finding) == [[id_.encode()] for id_ in ids]
    assert len(asked.statements) == 2


async def test_behind_a_question_that_is_stuck_nobody_waits_for_long(asked: Asked) -> None:
    asked.put("id", b"value")
    stuck, well = asyncio.Event(), asked.finds._read

    async def hang(work: object) -> None:
        await stuck.wait()
        raise TimeoutError

    asked.finds._read = hang
    first = asyncio.create_task(asked.find("id"))
    await asyncio.sleep(0.001)
    asked.finds._read = well

    assert await asyncio.wait_for(asked.find("id"), 1) == [b"value"]
    stuck.set()
    assert [type(answer) for answer in await first] == [TimeoutError]


async def test_more_than_fit_together_are_several_questions(asked: Asked) -> None:
    ids = [f"id{number}" for number in range(MOST_TOGETHER + 1)]
    for id_ in ids:
        asked.put(id_, id_.encode())

    assert await asked.find(*ids) == [id_.encode() for id_ in ids]
    assert len(asked.statements) == 2


async def test_an_error_of_the_reader_is_everybodys_and_the_next_are_served(asked: Asked) -> None:
    async def fail(work: object) -> None:
        raise TimeoutError

    asked.put("id", b"value")
    well, asked.finds._read = asked.finds._read, fail

    assert [type(answer) for answer in await asked.find("id", "other")] == [TimeoutError, TimeoutError]
    asked.finds._read = well
    assert await asked.find("id") == [b"value"]


async def test_who_gives_up_takes_no_other_along(asked: Asked) -> None:
    asked.put("id", b"value")
    asked.gate.clear()
    given_up, waiting = (asyncio.create_task(asked.finds.find("session", "id", now=50)) for _ in range(2))
    await asyncio.sleep(0.01)
    given_up.cancel()
    asked.gate.set()

    assert await waiting == b"value"
    assert given_up.cancelled()


async def test_what_nobody_waits_for_is_not_asked(asked: Asked) -> None:
    asked.put("id", b"value")
    given_up = asyncio.create_task(asked.finds.find("session", "id", now=50))
    asyncio.get_running_loop().call_soon(given_up.cancel)
    await asyncio.wait([given_up])
    await asyncio.sleep(0.01)

    assert given_up.cancelled()
    assert asked.statements == []


def test_a_loop_that_ended_before_its_answer_leaves_the_next_alone(asked: Asked) -> None:
    async def give_up() -> None:
        asked.finds._question = None
        task = asyncio.create_task(asked.finds.find("session", "id", now=50))
        await asyncio.sleep(0)
        task.cancel()

    asked.put("id", b"value")
    asyncio.run(give_up())

    assert asyncio.run(asked.find("id")) == [b"value"]


def test_nothing_is_found_for_nobody(asked: Asked) -> None:
    assert find_together(asked.database, "session", ["none"], now=0) == [None]
