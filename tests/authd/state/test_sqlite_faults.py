"""What can happen to the file of the embedded store (reference/attacks.md F6 to F9)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authd.errors import StoreDamagedError, StoreUnavailableError
from authd.state.base import DEADLINE_SECONDS
from authd.state.sqlite import SCHEMA_VERSION, SqliteStore

NOW = 1_800_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "authd.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path)
    await opened.put("session", "a", b"value", expires_at=NOW + 10)
    yield opened
    await opened.close()


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 400 kB, in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(volume)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield volume
    finally:
        subprocess.run(["umount", "-l", str(volume)], check=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the file, as a backup or a careless `sqlite3` does."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.close()


async def read_one(path: Path) -> None:
    opened = SqliteStore(path)
    try:
        await opened.find("session", "1", now=NOW)
    finally:
        await opened.close()


async def test_a_locked_file_stops_no_reader(store: SqliteStore, path: Path) -> None:
    with locked(path):
        assert await store.find("session", "a", now=NOW) == b"value"
        assert await store.tombstones_since(0) == []


async def test_a_write_to_a_locked_file_fails_within_the_deadline_and_is_not_done_later(
    store: SqliteStore, path: Path
) -> None:
    with locked(path):
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await store.put("session", "b", b"value", expires_at=NOW + 10)
        assert time.monotonic() - began < 2
    await store.put("session", "c", b"value", expires_at=NOW + 10)
    assert await store.find("session", "b", now=NOW) is None


async def test_a_write_that_fails_in_an_unforeseen_way_stops_no_other(store: SqliteStore) -> None:
    """A thread that died within its transaction would hold the lock on the file until the process ends."""

    def fail(db: sqlite3.Connection) -> None:
        db.execute('DELETE FROM "values"')
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._write(fail)
    await store.put("session", "b", b"value", expires_at=NOW + 10)
    assert await store.find("session", "a", now=NOW) == b"value"


async def test_a_deleted_file_is_told_and_nothing_goes_into_what_nobody_else_sees(
    store: SqliteStore, path: Path
) -> None:
    path.unlink()
    with pytest.raises(StoreDamagedError, match="restart authd"):
        await store.put("session", "b", b"value", expires_at=NOW + 10)
    with pytest.raises(StoreDamagedError, match="restart authd"):
        await store.tombstones_since(0)


async def test_a_replaced_file_is_told(store: SqliteStore, path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    await SqliteStore(path).close()
    with pytest.raises(StoreDamagedError, match="replaced"):
        await store.find("session", "a", now=NOW)


async def test_five_seconds_of_a_lock_delay_no_writer_for_longer_than_the_deadline(
    store: SqliteStore, path: Path
) -> None:
    """F6: each is refused in its time, none is done later, readers never wait, and afterwards all is well at once."""
    tries = 0
    with locked(path):
        began = time.monotonic()
        while time.monotonic() - began < 5:
            tried = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await store.put("session", f"refused-{tries}", b"value", expires_at=NOW + 10)
            assert time.monotonic() - tried < 2
            assert await store.find("session", "a", now=NOW) == b"value"
            tries += 1
    await store.put("session", "b", b"value", expires_at=NOW + 10)
    assert [each.id async for each in store.read_values(now=NOW)] == ["a", "b"]
    assert tries > 2


async def test_a_full_disk_loses_nothing_that_was_acknowledged(small_volume: Path) -> None:
    """F7: what returned is there, also for who opens the file anew; what was refused is not; space is used again."""
    path = small_volume / "authd.db"
    store = SqliteStore(path)
    kept: list[str] = []

    async def fill() -> None:
        for number in range(10_000):
            await store.put("session", f"{number:05}", b"x" * 500, expires_at=NOW + 10)
            kept.append(f"{number:05}")

    with pytest.raises(StoreUnavailableError, match="full"):
        await fill()
    assert 10 < len(kept) < 10_000
    refused = f"{len(kept):05}"
    with pytest.raises(StoreUnavailableError, match="full"):
        await store.put("session", refused, b"x" * 100_000, expires_at=NOW + 10)
    assert [each.id async for each in store.read_values(now=NOW)] == kept
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_volume)], check=True)
    await store.end("session", kept.pop(), now=NOW, remembered_until=NOW + 10)
    await store.close()
    again = SqliteStore(path)
    assert [each.id async for each in again.read_values(now=NOW)] == kept
    assert len(await again.tombstones_since(0)) == 1
    await again.close()
    with contextlib.closing(sqlite3.connect(path)) as check:
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("length", [0, 100, 4096 + 512])
async def test_a_file_that_was_cut_under_the_service_is_told_and_grants_nothing(path: Path, length: int) -> None:
    """F8: a reader gets an error or what was there, never another answer; and so does who starts on it."""
    store = SqliteStore(path)
    for number in range(200):
        await store.put("session", str(number), b"x" * 500, expires_at=NOW + 10)
    await store.close()
    store = SqliteStore(path)
    os.truncate(path, length)
    with pytest.raises(StoreDamagedError):
        await store.find("session", "1", now=NOW)
    with pytest.raises(StoreDamagedError):
        await store.put("session", "new", b"value", expires_at=NOW + 10)
    await store.close()
    with pytest.raises(StoreDamagedError):
        await read_one(path)


def test_a_worker_begins_no_new_store(path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="No such file"):
        SqliteStore(path, may_create=False)
    assert not path.exists()


def test_an_empty_file_is_not_taken_for_a_new_store(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreDamagedError, match="is empty"):
        SqliteStore(path)


@pytest.mark.parametrize(("offset", "sentence"), [(0, "not a database"), (100, "malformed|corrupt|disk image")])
async def test_a_damaged_file_is_refused(path: Path, offset: int, sentence: str) -> None:
    first = SqliteStore(path)
    for number in range(200):
        await first.put("session", str(number), b"x" * 500, expires_at=NOW + 10)
    await first.close()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * (path.stat().st_size - offset))
    with pytest.raises(StoreDamagedError, match=sentence):
        await read_one(path)


def test_a_file_of_a_newer_authd_is_refused_and_left_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as newer:
        newer.execute("CREATE TABLE news (text TEXT)")
        newer.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    newer.close()
    with pytest.raises(StoreDamagedError, match="newer authd"):
        SqliteStore(path)
    with sqlite3.connect(path) as again:
        assert again.execute("SELECT count(*) FROM news").fetchone() == (0,)
    again.close()


def test_a_directory_that_nobody_can_write_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="missing"):
        SqliteStore(tmp_path / "missing" / "authd.db")


def test_a_link_to_a_file_that_is_not_made_yet_is_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere.db")
    SqliteStore(path)
    assert (tmp_path / "elsewhere.db").stat().st_mode & 0o777 == 0o600


async def test_a_command_that_opens_and_closes_the_file_beside_the_service_takes_nothing_from_it(
    store: SqliteStore, path: Path
) -> None:
    """Whoever closes as the last deletes the WAL. POSIX locks go with the first descriptor of a process that is closed:
    opening the file by hand beside SQLite would make every other process believe to be the last, and ruin it."""
    wal = path.with_name("authd.db-wal")
    before = wal.stat().st_ino
    program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT 1 FROM counters'); db.close()"

    subprocess.run([sys.executable, "-c", program, str(path)], check=True)

    assert wal.stat().st_ino == before
    await store.put("session", "b", b"value", expires_at=NOW + 10)
    await read_one(path)
    assert await store.find("session", "b", now=NOW) == b"value"


async def test_an_answer_in_time_counts_though_the_loop_was_late(store: SqliteStore) -> None:
    """On a busy machine the loop sees the end of the 200 ms before the answer that came within them."""
    reading = asyncio.create_task(store.find("session", "a", now=NOW))
    writing = asyncio.create_task(store.put("session", "b", b"value", expires_at=NOW + 10))
    await asyncio.sleep(0)
    time.sleep(3 * DEADLINE_SECONDS)

    assert await reading == b"value"
    await writing
    assert await store.find("session", "b", now=NOW) == b"value"


async def test_no_answer_in_time_is_an_error(store: SqliteStore) -> None:
    release = threading.Event()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="no answer within"):
        await store._read(lambda db: release.wait(20))
    assert time.monotonic() - begun < 20
    release.set()
