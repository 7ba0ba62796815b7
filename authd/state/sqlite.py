"""The embedded store: SQLite in WAL mode. One machine, any number of workers, nothing to install.

Each worker has one connection for reading and one for writing, each with a thread of its own, so that a slow disk
stalls nobody's event loop and a locked file no reader. Reads that wait together are made together, and writes are
committed together: with
`synchronous=FULL` a commit waits for the disk, and what was acknowledged survives a power cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from authd.errors import StoreDamagedError, StoreError, StoreUnavailableError
from authd.state.base import DEADLINE_SECONDS, MOST_OWNED, StoredEnd, StoredValue, Tombstone
from authd.state.gathered_finds import GatheredFinds, first_value
from authd.state.group_reader import GroupReader
from authd.state.group_writer import GroupWriter

SCHEMA_VERSION = 2
# Less than the deadline, so that a locked file is told as such and not as a timeout.
_BUSY_TIMEOUT_MS = 150
_SWEEP_ROWS = 500

_SCHEMA = """
CREATE TABLE "values" (
    kind TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL, expires_at INTEGER NOT NULL,
    owner TEXT NOT NULL DEFAULT '', PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX values_by_expiry ON "values" (expires_at);
CREATE INDEX values_by_owner ON "values" (kind, owner, expires_at) WHERE owner <> '';
CREATE TABLE counters (
    kind TEXT NOT NULL, id TEXT NOT NULL, started_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, count INTEGER NOT
    NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX counters_by_expiry ON counters (expires_at);
CREATE TABLE tombstones (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, remembered_until INTEGER NOT NULL
);
CREATE INDEX tombstones_by_expiry ON tombstones (remembered_until);
"""

# What makes a file of each older version one of the next.
_MIGRATIONS = {
    1: """
ALTER TABLE "values" ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX values_by_owner ON "values" (kind, owner, expires_at) WHERE owner <> '';
""",
}

_Result = TypeVar("_Result")


class SqliteStore:
    """A `Store` in one file, readable by its owner alone."""

    def __init__(self, path: Path, *, may_create: bool = True) -> None:
        """A missing file is made, unless not `may_create`: a worker that began a new one beside workers that go on with
        the deleted one would miss what they revoke.

        Raises StoreUnavailableError if the file cannot be opened, StoreDamagedError if it is no store of this version.
        """
        self._path = path
        self._writer = GroupWriter(_open(path, may_create=may_create), patience_seconds=_BUSY_TIMEOUT_MS / 1000)
        self._opened = _identify(path)
        self._reader = GroupReader(_open(path, may_create=False), before=self._require_same_file)
        self._finds = GatheredFinds(self._read)

    async def check(self) -> list[str]:
        """See `Store.check`. A file that could be opened is fit."""
        return []

    async def put(self, kind: str, id_: str, value: bytes, *, expires_at: int, owner: str = "") -> None:
        """See `Store.put`."""
        statement = 'INSERT OR REPLACE INTO "values" (kind, id, value, expires_at, owner) VALUES (?, ?, ?, ?, ?)'
        await self._write(lambda db: db.execute(statement, (kind, id_, value, expires_at, owner)).rowcount)

    async def put_if_absent(self, kind: str, id_: str, value: bytes, *, now: int, expires_at: int) -> bool:
        """See `Store.put_if_absent`."""
        statement = """
            INSERT INTO "values" (kind, id, value, expires_at) VALUES (:kind, :id, :value, :expires_at)
            ON CONFLICT (kind, id) DO UPDATE SET value = :value, expires_at = :expires_at
            WHERE "values".expires_at <= :now"""
        row = {"kind": kind, "id": id_, "value": value, "expires_at": expires_at, "now": now}
        return await self._write(lambda db: db.execute(statement, row).rowcount == 1)

    async def replace(
        self, kind: str, id_: str, old: bytes, new: bytes, *, now: int, expires_at: int, owner: str = ""
    ) -> bool:
        """See `Store.replace`."""
        statement = """
            UPDATE "values" SET value = :new, expires_at = :expires_at
            WHERE kind = :kind AND id = :id AND value = :old AND expires_at > :now"""
        row = {"kind": kind, "id": id_, "old": old, "new": new, "expires_at": expires_at, "now": now}
        return await self._write(lambda db: db.execute(statement, row).rowcount == 1)

    async def find(self, kind: str, id_: str, *, now: int) -> bytes | None:
        """See `Store.find`."""
        try:
            return await self._finds.find(kind, id_, now=now)
        except sqlite3.Error as error:
            raise _store_error(self._path, error) from error

    async def find_many(self, kind: str, ids: Sequence[str], *, now: int) -> dict[str, bytes]:
        """See `Store.find_many`."""
        statement = """
            SELECT id, value FROM "values"
            WHERE kind = ? AND id IN (SELECT value FROM json_each(?)) AND expires_at > ?"""
        row = (kind, json.dumps(list(ids)), now)
        rows = await self._read(lambda db: db.execute(statement, row).fetchall())
        return {id_: value if isinstance(value, bytes) else b"" for id_, value in rows}

    async def find_owned(self, kind: str, owner: str, *, now: int, skip: int = 0) -> list[StoredValue]:
        """See `Store.find_owned`."""
        # The condition on the index is said again: SQLite does not look into what is bound.
        statement = """
            SELECT kind, id, value, expires_at, owner FROM "values"
            WHERE kind = ? AND owner = ? AND owner <> '' AND expires_at > ? ORDER BY expires_at DESC LIMIT ? OFFSET ?"""
        rows = await self._read(lambda db: db.execute(statement, (kind, owner, now, MOST_OWNED, skip)).fetchall())
        return [StoredValue(*row) for row in rows]

    async def take(self, kind: str, id_: str, *, now: int) -> bytes | None:
        """See `Store.take`."""
        statement = 'DELETE FROM "values" WHERE kind = ? AND id = ? RETURNING value, expires_at > ?'

        def remove(db: sqlite3.Connection) -> bytes | None:
            row = db.execute(statement, (kind, id_, now)).fetchone()
            return first_value(row) if row and row[1] else None

        return await self._write(remove)

    async def count(self, kind: str, id_: str, *, now: int, window_seconds: int) -> int:
        """See `Store.count`. The window begins with the first count and does not slide."""
        statement = """
            INSERT INTO counters VALUES (:kind, :id, :now, :end, 1)
            ON CONFLICT (kind, id) DO UPDATE SET
                count = CASE WHEN expires_at > :now THEN count + 1 ELSE 1 END,
                started_at = CASE WHEN expires_at > :now THEN started_at ELSE :now END,
                expires_at = CASE WHEN expires_at > :now THEN expires_at ELSE :end END
            RETURNING count"""
        row = {"kind": kind, "id": id_, "now": now, "end": now + window_seconds}
        return await self._write(lambda db: int(db.execute(statement, row).fetchone()[0]))

    async def end(self, kind: str, id_: str, *, now: int, remembered_until: int) -> None:
        """See `Store.end`."""

        def remove(db: sqlite3.Connection) -> None:
            db.execute('DELETE FROM "values" WHERE kind = ? AND id = ?', (kind, id_))
            statement = "INSERT INTO tombstones (kind, id, remembered_until) VALUES (?, ?, ?)"
            db.execute(statement, (kind, id_, max(remembered_until, now)))

        await self._write(remove)

    async def cursor(self) -> int:
        """See `Store.cursor`. AUTOINCREMENT keeps the newest sequence even when its tombstone was swept."""
        statement = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'tombstones'"
        return await self._read(lambda db: int(db.execute(statement).fetchone()[0]))

    async def tombstones_since(self, sequence: int) -> list[Tombstone]:
        """See `Store.tombstones_since`."""
        statement = "SELECT sequence, kind, id FROM tombstones WHERE sequence > ? ORDER BY sequence"
        rows = await self._read(lambda db: db.execute(statement, (sequence,)).fetchall())
        return [Tombstone(*row) for row in rows]

    async def sweep(self, *, now: int) -> int:
        """See `Store.sweep`."""
        expiries = (
            ('"values"', "expires_at"),
            ("counters", "expires_at"),
            ("tombstones", "remembered_until"),
        )

        def remove(db: sqlite3.Connection) -> int:
            removed = 0
            for table, column in expiries:
                key = "sequence" if table == "tombstones" else "(kind, id)"
                columns = key.strip("()")
                statement = (  # table and column are the constants above
                    f"DELETE FROM {table} WHERE {key} IN "  # noqa: S608
                    f"(SELECT {columns} FROM {table} WHERE {column} <= ? LIMIT {_SWEEP_ROWS})"
                )
                removed += db.execute(statement, (now,)).rowcount
            return removed

        return await self._write(remove)

    async def size(self) -> int:
        """See `Store.size`."""
        statement = 'SELECT (SELECT count(*) FROM "values"), (SELECT count(*) FROM counters), count(*) FROM tombstones'
        return await self._read(lambda db: sum(db.execute(statement).fetchone()))

    async def read_values(self, *, now: int) -> AsyncIterator[StoredValue]:
        """See `Store.read_values`."""
        statement = f"""
            SELECT kind, id, value, expires_at, owner FROM "values"
            WHERE (kind, id) > (?, ?) AND expires_at > ? ORDER BY kind, id LIMIT {_SWEEP_ROWS}"""  # noqa: S608
        page: list[tuple[str, str, bytes, int, str]] = [("", "", b"", 0, "")]
        while page:
            after = (*page[-1][:2], now)
            page = await self._read_page(statement, after)
            for row in page:
                yield StoredValue(*row)

    async def read_ends(self, *, now: int) -> AsyncIterator[StoredEnd]:
        """See `Store.read_ends`."""
        statement = f"""
            SELECT sequence, kind, id, remembered_until FROM tombstones
            WHERE sequence > ? AND remembered_until > ? ORDER BY sequence LIMIT {_SWEEP_ROWS}"""  # noqa: S608
        page: list[tuple[int, str, str, int]] = [(0, "", "", 0)]
        while page:
            after = (page[-1][0], now)
            page = await self._read_page(statement, after)
            for row in page:
                yield StoredEnd(*row[1:])

    async def close(self) -> None:
        """See `Store.close`."""
        self._reader.close()
        self._writer.close()

    async def _read_page(self, statement: str, after: tuple[str | int, ...]) -> list[Any]:
        return await self._read(lambda db: db.execute(statement, after).fetchall())

    async def _read(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            return await self._reader.read(work, deadline_seconds=DEADLINE_SECONDS)
        except TimeoutError as error:
            raise self._too_late() from error
        except sqlite3.Error as error:
            raise _store_error(self._path, error) from error

    async def _write(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work` within a transaction. One that misses the deadline may still be committed later: callers treat it
        as not acknowledged."""
        return await self._within_deadline(self._writer.submit(self._on_same_file(work)))

    def _on_same_file(self, work: Callable[[sqlite3.Connection], _Result]) -> Callable[[sqlite3.Connection], _Result]:
        def checked(db: sqlite3.Connection) -> _Result:
            self._require_same_file()
            return work(db)

        return checked

    def _require_same_file(self) -> None:
        """A deleted or replaced file still answers whoever has it open, but nobody else sees what is written there."""
        if _identify(self._path) != self._opened:
            raise StoreDamagedError(f"{self._path}: was deleted or replaced while authd had it open; restart authd")

    def _too_late(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._path}: no answer within {DEADLINE_SECONDS} s")

    async def _within_deadline(self, running: Future[_Result]) -> _Result:
        try:
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the result.
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await asyncio.wrap_future(running)
        except TimeoutError as error:
            if running.cancelled() or not running.done():
                raise self._too_late() from error
        except sqlite3.Error as error:
            raise _store_error(self._path, error) from error
        # On a busy machine the loop sees the end of the time and the answer, which had come before, at once.
        return self._result_of(running)

    def _result_of(self, done: Future[_Result]) -> _Result:
        try:
            return done.result()
        except sqlite3.Error as error:
            raise _store_error(self._path, error) from error


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(path: Path, *, may_create: bool) -> sqlite3.Connection:
    try:
        if not (may_create and _create(path)):
            _require_content(path)
        connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )
        # Counts for a new file alone. Eleven sessions to a page instead of five: a quarter less disk, one level less.
        connection.execute("PRAGMA page_size=8192")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _migrate(path, connection)
    except OSError as error:
        raise StoreUnavailableError(f"{path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise _store_error(path, error) from error
    return connection


def _create(path: Path) -> bool:
    """Make the file if it is missing. SQLite itself would make it as readable as the umask allows, and its WAL too."""
    try:
        # Resolved: O_EXCL takes a link that leads to a file not made yet for the file.
        os.close(os.open(path.resolve(), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


def _require_content(path: Path) -> None:
    """Raises StoreDamagedError if the file is empty: SQLite would make a new store of it, and nobody would know.

    Another process may just be making it; that takes less than a second.
    """
    for _ in range(10):
        if os.stat(path).st_size:
            return
        time.sleep(0.1)
    raise StoreDamagedError(f"{path}: is empty; restore it from a backup, or remove it to log everybody out")


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Make the schema in an empty file, or bring an older one up to date. Two workers may try at once: the lock lets
    one do it, the other finds it done."""
    connection.execute(f"PRAGMA busy_timeout={10 * _BUSY_TIMEOUT_MS}")
    if 0 < _version_of(connection) < SCHEMA_VERSION:
        _back_up(path, connection)
    connection.execute("BEGIN IMMEDIATE")
    version = _version_of(connection)
    steps = [_SCHEMA] if version == 0 else [_MIGRATIONS[old] for old in range(version, SCHEMA_VERSION)]
    for statement in ";".join(steps).split(";"):
        connection.execute(statement)
    if version < SCHEMA_VERSION:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")
    connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    if version > SCHEMA_VERSION:
        raise StoreDamagedError(f"{path}: written by a newer authd (schema {version}, this one knows {SCHEMA_VERSION})")


def _version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _back_up(path: Path, connection: sqlite3.Connection) -> None:
    """A copy beside the file before its schema changes, for whoever has to go back to the authd of before."""
    copy = path.with_name(f"{path.name}.schema-{_version_of(connection)}")
    if not copy.exists():
        beside = path.with_name(f"{copy.name}.{os.getpid()}")
        _create(beside)
        connection.execute("VACUUM INTO ?", (str(beside),))
        os.replace(beside, copy)


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """A file that is no database or is damaged needs the operator; anything else (locked, disk full) may pass."""
    if type(error) is sqlite3.DatabaseError:
        return StoreDamagedError(f"{path}: {error}; restore it from a backup, or move it away to log everybody out")
    return StoreUnavailableError(f"{path}: {error}")
