"""Which sessions live, as one worker sees them; and what happens when the store stops answering for good reason."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from authd.errors import StoreError, StoreUnavailableError
from authd.model import NO_ENDS, Ends, Reason
from authd.revocations import Scope
from authd.sessions import Sessions
from authd.state.base import MOST_OWNED
from authd.state.sqlite import SqliteStore
from tests.authd.house import NOW, House, make_identity, make_session


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

    def hang() -> None:
        released.wait(30)

    house.store._reader._before = hang
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


async def start_other(house: House) -> Sessions:
    other = house.make_sessions()
    await other.start()
    return other


async def test_a_persons_sessions_are_listed(house: House) -> None:
    jane, john = make_identity("jane@example.com"), make_identity("john@example.com")
    mine = [make_session(f"mine-{number}", jane, expires_at=NOW + 100 + number) for number in range(3)]
    for session in (*mine, make_session("other", john)):
        await house.sessions.add(session)

    assert await house.sessions.list_of(jane.subject) == mine[::-1]
    await house.sessions.end(mine[1])
    assert await house.sessions.list_of(jane.subject) == [mine[2], mine[0]]
    assert await house.sessions.list_of("") == []


@pytest.mark.parametrize(
    ("scope", "id_"), [(Scope.PERSON, "subject-of-jane@example.com"), (Scope.PROVIDER, "corp"), (Scope.EVERYTHING, "")]
)
async def test_a_revocation_ends_what_began_before_it_on_every_worker(house: House, scope: Scope, id_: str) -> None:
    before = make_session("before", make_identity("jane@example.com"))
    other_person = make_session("another", make_identity("john@example.com", provider_id="partner"))
    for session in (before, other_person):
        await house.sessions.add(session)
    other = await start_other(house)
    assert await other.find("before") == before

    await house.sessions.revoke(scope, id_)
    await other.poll()
    late = await start_other(house)
    # A login that was under way, written by a machine that has not heard of it.
    under_way = make_session("under-way", make_identity("jane@example.com"))
    await house.records.add_session(under_way)
    house.clock.now = NOW + 1
    after = make_session("after", make_identity("jane@example.com"), created_at=NOW + 1)
    await house.sessions.add(after)

    is_all = scope is Scope.EVERYTHING
    for worker in (house.sessions, other, late):
        assert await worker.find("before") is None
        assert await worker.find("under-way") is None
        assert worker.why_gone("before") is Reason.SESSION_ENDED
        assert await worker.find("after") == after
        assert (await worker.find("another") is None) is is_all


async def test_an_application_is_left_by_one_session_and_revoked_for_all(house: House) -> None:
    session, stranger = make_session("mine"), make_session("theirs", make_identity("john@example.com"))
    for each in (session, stranger):
        await house.sessions.add(each)
    other = await start_other(house)
    assert await other.find("mine") == session

    await house.sessions.leave(session, "wiki")
    await other.poll()

    for worker in (house.sessions, other, await start_other(house)):
        found = await worker.find("mine")
        assert found is not None
        assert worker.has_ended(found, "wiki", NO_ENDS)
        assert not worker.has_ended(found, "wiki", Ends(left=NOW))
        assert not worker.has_ended(found, "grafana", NO_ENDS)
        assert not worker.is_alive(session), "what was remembered of it is not what counts"
        assert not worker.has_ended(stranger, "wiki", NO_ENDS)

    await house.sessions.revoke(Scope.APPLICATION, "grafana")
    await other.poll()
    for worker in (house.sessions, other, await start_other(house)):
        assert worker.has_ended(stranger, "grafana", NO_ENDS)
        assert worker.has_ended(stranger, "grafana", Ends(left=NOW + 9)), "a logout is no revocation"
        assert not worker.has_ended(stranger, "grafana", Ends(revoked=NOW))
        assert not worker.has_ended(stranger, "docs", NO_ENDS)


async def test_no_end_is_ever_taken_for_one_before_it(house: House) -> None:
    """A second one in the same second, or by a machine whose clock is behind."""
    session = make_session()
    await house.sessions.add(session)
    seen = []
    for seconds in (0, 0, -40, 5):
        house.clock.now = NOW + seconds
        worker = await start_other(house)
        await worker.leave(session, "wiki")
        await worker.revoke(Scope.APPLICATION, "wiki")
        found = await (await start_other(house)).find(session.id)
        assert found is not None
        seen.append((await start_other(house)).ends_of(found, "wiki"))

    assert seen == [Ends(at, at) for at in (NOW, NOW + 1, NOW + 2, NOW + 5)]


async def test_a_worker_that_starts_knows_every_revocation_however_many_followed(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    await house.sessions.revoke(Scope.EVERYTHING, "")
    house.clock.now = NOW + 1
    for number in range(MOST_OWNED + 1):
        await house.sessions.revoke(Scope.PERSON, f"leaver-{number}")

    assert await (await start_other(house)).find(session.id) is None


async def test_changes_at_once_are_all_made_and_an_ended_session_is_not_changed(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    other = await start_other(house)

    await asyncio.gather(*(worker.leave(session, str(n)) for n in range(5) for worker in (house.sessions, other)))
    late = await start_other(house)
    found = await late.find(session.id)
    assert found is not None
    assert set(found.left) == set("01234")

    await house.sessions.end(session)
    assert await other.change(session.id, lambda each: replace(each, country="DE")) is None
    assert await late.list_of(session.identity.subject) == []


async def test_a_session_that_nobody_uses_ends_and_one_that_another_machine_uses_does_not(house: House) -> None:
    house.idle_seconds = 600
    used, unused = make_session("used"), make_session("unused")
    for session in (used, unused):
        await house.sessions.add(session)
    one, two = await start_other(house), await start_other(house)
    assert await one.find("used")
    assert await one.find("unused")

    for minute in range(1, 31):
        house.clock.now = NOW + 60 * minute
        assert await two.find("used")
        await two.poll()

    # One has not seen it for half an hour, and asks before it says so.
    assert not one.is_alive(used)
    assert await one.find("used") == used
    assert await one.find("unused") is None
    assert one.why_gone("unused") is Reason.SESSION_IDLE
    await two.poll()
    assert await two.find("unused") is None


async def test_idle_time_costs_one_write_a_session_and_minute_over_all_workers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.idle_seconds = 600
    session = make_session()
    await house.sessions.add(session)
    workers = [await start_other(house) for _ in range(3)]
    writes: list[str] = []
    for name in ("put", "put_if_absent", "replace"):
        real = getattr(house.store, name)

        async def counted(*args: object, real: object = real, **more: object) -> object:
            result = await real(*args, **more)  # type: ignore[operator]
            writes.append("write") if result is not False else None
            return result

        monkeypatch.setattr(house.store, name, counted)

    for second in range(1, 601):
        house.clock.now = NOW + second
        for worker in workers:
            assert await worker.find(session.id)
            if second % 10 == 0:
                await worker.poll()

    assert 8 <= len(writes) <= 10


async def test_an_outage_makes_nobody_idle(house: House, stalled: threading.Event) -> None:
    house.idle_seconds = 600
    session = make_session()
    await house.sessions.add(session)
    house.clock.now = NOW + 3600

    with pytest.raises(StoreUnavailableError):
        await house.sessions.find(session.id)
    stalled.set()
    assert await house.sessions.find(session.id) is None
