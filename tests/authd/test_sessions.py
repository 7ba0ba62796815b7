"""Which sessions live, as one worker sees them; and what happens when the store stops answering for good reason."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator

import pytest

from authd.errors import StoreError, StoreUnavailableError
from authd.model import Reason
from authd.state.sqlite import SqliteStore
from tests.authd.house import NOW, House, make_session


@pytest.fixture
def lock(house: House) -> Iterator[sqlite3.Connection]:
    """Another program, which may hold the file: then nobody else can write."""
    connection = sqlite3.connect(house.directory / "authd.db", isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def stalled(house: House) -> Iterator[threading.Event]:
    """A disk that does not answer, until the event is set: the store's own thread for reading hangs."""
    released = threading.Event()
    house.store._reader.submit(released.wait, 30)
    yield released
    released.set()


async def test_a_session_lives_until_its_time(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)

    assert await house.sessions.find(session.id) == session
    house.clock.now = session.expires_at - 1
    assert await house.sessions.find(session.id) == session
    house.clock.now = session.expires_at
    assert await house.sessions.find(session.id) is None


async def test_what_nobody_knows_has_ended(house: House) -> None:
    assert await house.sessions.find("never-was") is None
    assert house.sessions.why_gone("never-was") is Reason.SESSION_UNKNOWN


async def test_another_worker_finds_a_session_in_the_store_once(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    other = house.make_sessions()
    await other.start()

    assert await other.find(session.id) == session
    await house.store.close()
    assert await other.find(session.id) == session


async def test_a_session_that_ended_is_out_here_at_once_and_elsewhere_with_the_next_poll(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    other = house.make_sessions()
    await other.start()
    assert await other.find(session.id) == session

    await house.sessions.end(session)

    assert await house.sessions.find(session.id) is None
    assert await other.find(session.id) == session
    await other.poll()
    assert await other.find(session.id) is None
    assert other.why_gone(session.id) is Reason.SESSION_ENDED


async def test_a_worker_that_starts_later_does_not_bring_an_ended_session_back(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    await house.sessions.end(session)
    late = house.make_sessions()

    await late.start()
    await late.poll()

    assert await late.find(session.id) is None


async def test_ending_twice_is_no_error_and_each_tombstone_is_read_once(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    other = house.make_sessions()
    await other.start()

    for _ in range(2):
        await house.sessions.end(session)
        await other.poll()

    assert other.why_gone(session.id) is Reason.SESSION_ENDED
    assert await house.store.tombstones_since(await house.store.cursor()) == []


async def test_two_workers_on_two_connections_see_each_other(house: House) -> None:
    """As under gunicorn: each worker has opened the file for itself."""
    session = make_session()
    await house.sessions.add(session)
    first_store, house.store = house.store, SqliteStore(house.directory / "authd.db")
    house.records._store = house.store
    other = house.make_sessions()
    await other.start()
    assert await other.find(session.id) == session

    await other.end(session)
    await house.sessions.poll()

    assert await house.sessions.find(session.id) is None
    await first_store.close()


async def test_during_an_outage_remembered_sessions_go_on_for_the_grace_and_no_longer(
    house: House, request: pytest.FixtureRequest
) -> None:
    session = make_session()
    await house.sessions.add(session)
    stalled = request.getfixturevalue("stalled")

    for seconds in (0, 300):
        house.monotonic.now = NOW + seconds
        with pytest.raises(StoreUnavailableError):
            await house.sessions.poll()
        assert await house.sessions.find(session.id) == session
    house.monotonic.now = NOW + 301
    with pytest.raises(StoreUnavailableError, match="store_outage_grace"):
        await house.sessions.find(session.id)

    stalled.set()
    await house.sessions.poll()
    assert await house.sessions.find(session.id) == session


async def test_during_an_outage_what_is_not_remembered_is_an_outage_and_no_denial(
    house: House, stalled: threading.Event
) -> None:
    with pytest.raises(StoreUnavailableError):
        await house.sessions.find("unknown-here")
    assert not stalled.is_set()


async def test_a_logout_that_could_not_be_recorded_is_told_and_can_be_tried_again(
    house: House, lock: sqlite3.Connection
) -> None:
    session = make_session()
    await house.sessions.add(session)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailableError):
        await house.sessions.end(session)

    lock.execute("ROLLBACK")
    await house.sessions.end(session)

    assert await house.sessions.find(session.id) is None


async def test_a_login_that_could_not_be_recorded_is_no_session(house: House, lock: sqlite3.Connection) -> None:
    session = make_session()
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailableError):
        await house.sessions.add(session)
    lock.execute("ROLLBACK")

    assert session.id not in house.sessions._remembered


async def test_a_damaged_file_lets_nobody_new_in(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    with (house.directory / "authd.db").open("r+b") as file:
        file.write(b"\x00" * 8192)
    (house.directory / "authd.db-wal").write_bytes(b"")

    with pytest.raises(StoreError):
        SqliteStore(house.directory / "authd.db")
    assert await house.sessions.find(session.id) == session
