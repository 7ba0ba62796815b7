"""Reads that wait together are made together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator

import pytest

from authd.state.gathering import MOST_TOGETHER
from authd.state.group_reader import GroupReader


class Opened:
    """A reader, and how many groups it has begun. `gate` is shut to hold it up."""

    def __init__(self) -> None:
        self.groups = 0
        self.fault: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.reader = GroupReader(connection, before=self._before)

    async def read(self, sql: str, seconds: float = 5.0) -> object:
        return await self.reader.read(lambda db: db.execute(sql).fetchone()[0], deadline_seconds=seconds)

    def _before(self) -> None:
        self.groups += 1
        self.gate.wait(10)
        if self.fault:
            raise self.fault


@pytest.fixture
def opened() -> Iterator[Opened]:
    made = Opened()
    yield made
    made.gate.set()
    made.reader.close()


async def test_each_gets_its_own_answer_from_few_groups(opened: Opened) -> None:
    opened.gate.clear()
    first = asyncio.create_task(opened.read("SELECT -1"))
    await asyncio.to_thread(_wait_for, lambda: opened.groups == 1)
    many = [asyncio.create_task(opened.read(f"SELECT {number}")) for number in range(MOST_TOGETHER)]
    await asyncio.sleep(0)
    opened.gate.set()

    assert await asyncio.gather(*many) == list(range(MOST_TOGETHER))
    assert await first == -1
    assert opened.groups == 2


async def test_one_that_fails_takes_no_other_with_it(opened: Opened) -> None:
    answers = await asyncio.gather(
        *map(opened.read, ("SELECT 1", "SELECT nonsense", "SELECT 3")), return_exceptions=True
    )

    assert (answers[0], answers[2]) == (1, 3)
    assert isinstance(answers[1], sqlite3.OperationalError)


async def test_what_fails_before_a_group_fails_all_of_it_and_nothing_after_it(opened: Opened) -> None:
    opened.fault = ValueError("gone")
    with pytest.raises(ValueError, match="gone"):
        await opened.read("SELECT 1")
    opened.fault = None

    assert await opened.read("SELECT 2") == 2


async def test_who_waits_too_long_is_told_and_the_next_is_served(opened: Opened) -> None:
    opened.gate.clear()
    with pytest.raises(TimeoutError):
        await opened.read("SELECT 1", seconds=0.02)
    opened.gate.set()

    assert await opened.read("SELECT 2") == 2


async def test_what_nobody_waits_for_is_not_begun(opened: Opened) -> None:
    begun: list[int] = []
    opened.gate.clear()
    first = asyncio.create_task(opened.read("SELECT 1"))
    await asyncio.to_thread(_wait_for, lambda: opened.groups == 1)
    given_up = asyncio.create_task(opened.reader.read(lambda db: begun.append(1), deadline_seconds=5))
    await asyncio.sleep(0)
    given_up.cancel()
    opened.gate.set()

    assert await first == 1
    assert await opened.read("SELECT 2") == 2
    assert begun == []


async def test_a_closed_reader_says_so(opened: Opened) -> None:
    opened.reader.close()
    opened.reader.close()

    with pytest.raises(sqlite3.OperationalError, match="closed"):
        await opened.read("SELECT 1")


def test_a_loop_that_ended_before_its_answer_leaves_the_reader_to_the_next(opened: Opened) -> None:
    async def give_up() -> None:
        task = asyncio.create_task(opened.read("SELECT 1"))
        await asyncio.sleep(0)
        task.cancel()

    opened.gate.clear()
    asyncio.run(give_up())
    opened.gate.set()

    assert asyncio.run(opened.read("SELECT 2")) == 2


def _wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = threading.Event()
    while not condition():
        deadline.wait(0.001)
