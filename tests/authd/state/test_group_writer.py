"""Writes that wait together are committed together, and none of them pays for another's mistake."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from authd.state.group_writer import GroupWriter

WAIT_SECONDS = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "some.db"
    with sqlite3.connect(made) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    connection.close()
    return made


@pytest.fixture
def writer(path: Path) -> Iterator[GroupWriter]:
    made = GroupWriter(sqlite3.connect(path, isolation_level=None, check_same_thread=False), patience_seconds=0.2)
    yield made
    made.close()


def insert(number: int, text: str | None) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: connection.execute("INSERT INTO notes VALUES (?, ?)", (number, text)).rowcount


def read(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM notes ORDER BY id")]
    finally:
        connection.close()


def hold(writer: GroupWriter) -> threading.Event:
    """Keep the writer busy, from now until the event is set, so that what follows waits together."""
    begun, release = threading.Event(), threading.Event()

    def wait(connection: sqlite3.Connection) -> None:
        begun.set()
        release.wait(WAIT_SECONDS)

    writer.submit(wait)
    assert begun.wait(WAIT_SECONDS)
    return release


def test_what_waits_together_is_committed_once(writer: GroupWriter, path: Path) -> None:
    commits: list[str] = []
    writer._connection.set_trace_callback(
        lambda statement: commits.append(statement) if statement == "COMMIT" else None
    )
    release = hold(writer)
    writes = [writer.submit(insert(number, "x")) for number in range(50)]
    release.set()
    assert [write.result(WAIT_SECONDS) for write in writes] == [1] * 50
    assert read(path) == list(range(50))
    assert len(commits) == 2, "one for the write that held the others up, one for all of those"


def test_a_write_that_fails_takes_no_other_with_it(writer: GroupWriter, path: Path) -> None:
    release = hold(writer)
    before = writer.submit(insert(1, "x"))
    broken = writer.submit(insert(2, None))
    after = writer.submit(insert(3, "x"))
    release.set()
    assert (before.result(WAIT_SECONDS), after.result(WAIT_SECONDS)) == (1, 1)
    with pytest.raises(sqlite3.IntegrityError):
        broken.result(WAIT_SECONDS)
    assert read(path) == [1, 3]


def test_a_write_that_was_given_up_before_its_turn_does_not_happen(writer: GroupWriter, path: Path) -> None:
    release = hold(writer)
    given_up = writer.submit(insert(1, "x"))
    kept = writer.submit(insert(2, "x"))
    assert given_up.cancel()
    release.set()
    assert kept.result(WAIT_SECONDS) == 1
    assert read(path) == [2]


def test_a_locked_file_fails_every_write_that_waits_and_the_next_ones_succeed(writer: GroupWriter, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        writer.submit(insert(1, "x")).result(WAIT_SECONDS)
    other.execute("ROLLBACK")
    other.close()
    assert writer.submit(insert(2, "x")).result(WAIT_SECONDS) == 1
    assert read(path) == [2]


def test_what_is_queued_is_finished_before_the_end(writer: GroupWriter, path: Path) -> None:
    release = hold(writer)
    last = writer.submit(insert(1, "x"))
    release.set()
    writer.close()
    assert last.result(WAIT_SECONDS) == 1
    assert read(path) == [1]
    with pytest.raises(sqlite3.OperationalError, match="closed"):
        writer.submit(insert(2, "x")).result(WAIT_SECONDS)


def test_a_neighbour_that_writes_all_the_time_starves_nobody(writer: GroupWriter, path: Path) -> None:
    neighbour = GroupWriter(sqlite3.connect(path, isolation_level=None, check_same_thread=False), patience_seconds=20)
    ends = threading.Event()
    flood = threading.Thread(target=write_without_a_pause, args=(neighbour, ends))
    flood.start()
    try:
        for number in range(30):
            assert writer.submit(insert(number, "mine")).result(WAIT_SECONDS) == 1
    finally:
        ends.set()
        flood.join(WAIT_SECONDS)
        neighbour.close()


def write_without_a_pause(neighbour: GroupWriter, ends: threading.Event) -> None:
    """There is always more to write, and each transaction takes its time."""
    numbers = count(1_000)

    def write_slowly(connection: sqlite3.Connection) -> None:
        insert(next(numbers), "theirs")(connection)
        ends.wait(0.02)

    waiting = [neighbour.submit(write_slowly)]
    while not ends.is_set():
        waiting.append(neighbour.submit(write_slowly))
        waiting.pop(0).result(WAIT_SECONDS)
