"""What only the embedded store does."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from authd.state.sqlite import SqliteStore

NOW = 1_800_000_000
# As the first version made it.
SCHEMA_1 = """
CREATE TABLE "values" (
    kind TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX values_by_expiry ON "values" (expires_at);
CREATE TABLE counters (
    kind TEXT NOT NULL, id TEXT NOT NULL, started_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, count INTEGER NOT
    NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX counters_by_expiry ON counters (expires_at);
CREATE TABLE tombstones (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, remembered_until INTEGER NOT NULL
);
CREATE INDEX tombstones_by_expiry ON tombstones (remembered_until)
"""


async def test_sweeping_removes_every_row_that_has_expired(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "authd.db")
    await store.put("session", "old", b"1", expires_at=NOW)
    await store.put("session", "young", b"1", expires_at=NOW + 1)
    await store.count("login", "old", now=NOW - 60, window_seconds=60)
    await store.end("session", "gone", now=NOW - 1, remembered_until=NOW)
    assert await store.sweep(now=NOW) == 3
    assert await store.size() == 1
    await store.close()


async def test_a_file_with_smaller_pages_goes_on_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "authd.db"
    await SqliteStore(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        assert database.execute("PRAGMA page_size").fetchone() == (8192,)
        for statement in ("PRAGMA journal_mode=DELETE", "PRAGMA page_size=4096", "VACUUM"):
            database.execute(statement)
    store = SqliteStore(path)
    await store.put("kind", "id", b"x" * 10_000, expires_at=10)

    assert await store.find("kind", "id", now=5) == b"x" * 10_000
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA page_size").fetchone() == (4096,)


async def test_a_file_of_an_older_authd_is_brought_up_to_date_and_kept_beside(tmp_path: Path) -> None:
    """F9: in one step, with a copy for whoever has to go back."""
    path = tmp_path / "authd.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old:
        for statement in SCHEMA_1.split(";"):
            old.execute(statement)
        old.execute('INSERT INTO "values" VALUES (?, ?, ?, ?)', ("session", "a", b"sealed", NOW + 10))
        old.execute("PRAGMA user_version=1")

    store = SqliteStore(path)
    await store.put("session", "b", b"new", expires_at=NOW + 10, owner="jane")

    assert await store.find("session", "a", now=NOW) == b"sealed"
    assert [each.id for each in await store.find_owned("session", "jane", now=NOW)] == ["b"]
    await store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "authd.db.schema-1")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (1,)
        assert copy.execute('SELECT id FROM "values"').fetchall() == [("a",)]
    assert (tmp_path / "authd.db.schema-1").stat().st_mode & 0o777 == 0o600
