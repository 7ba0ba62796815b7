"""What only the embedded store does."""

from __future__ import annotations

from pathlib import Path

from authd.state.sqlite import SqliteStore

NOW = 1_800_000_000


async def test_sweeping_removes_every_row_that_has_expired(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "authd.db")
    await store.put("session", "old", b"1", expires_at=NOW)
    await store.put("session", "young", b"1", expires_at=NOW + 1)
    await store.count("login", "old", now=NOW - 60, window_seconds=60)
    await store.end("session", "gone", now=NOW - 1, remembered_until=NOW)
    assert await store.sweep(now=NOW) == 3
    assert await store.size() == 1
    await store.close()
