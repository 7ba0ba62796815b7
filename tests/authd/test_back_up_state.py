"""`authd state backup`: a copy that can be used, made while somebody writes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from authd.back_up_state import back_up_state
from authd.errors import StoreUnavailableError, StoreUnfitError
from authd.state import open_store

NOW = 1_800_000_000


async def put(url: str, *ids: str) -> None:
    store = open_store(url)
    try:
        for id_ in ids:
            await store.put("session", id_, b"value", expires_at=NOW + 60)
    finally:
        await store.close()


async def find(url: str, id_: str) -> bytes | None:
    store = open_store(url)
    try:
        return await store.find("session", id_, now=NOW)
    finally:
        await store.close()


def test_the_copy_holds_what_was_acknowledged_and_is_whole_while_somebody_writes(tmp_path: Path) -> None:
    url, copy = f"sqlite:{tmp_path}/authd.db", tmp_path / "copy.db"
    asyncio.run(put(url, "before"))
    is_over = threading.Event()

    def write() -> None:
        number = 0
        while not is_over.is_set():
            asyncio.run(put(url, f"during-{number}"))
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert back_up_state(url, copy)
    finally:
        is_over.set()
        writer.join()
    assert asyncio.run(find(f"sqlite:{copy}", "before")) == b"value"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.unfinished"))


def test_an_older_copy_is_not_replaced(tmp_path: Path) -> None:
    asyncio.run(put(f"sqlite:{tmp_path}/authd.db", "one"))
    (tmp_path / "copy.db").write_text("older")
    with pytest.raises(StoreUnfitError, match="exists already"):
        back_up_state(f"sqlite:{tmp_path}/authd.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "older"


def test_a_damaged_store_gives_no_copy(tmp_path: Path) -> None:
    (tmp_path / "authd.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailableError, match="could not be copied"):
        back_up_state(f"sqlite:{tmp_path}/authd.db", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == [tmp_path / "authd.db"]


@pytest.mark.parametrize("url", ["sqlite:{}/none.db", "redis://authd@redis.example.com/0"])
def test_where_there_is_no_file_nothing_is_copied(tmp_path: Path, url: str) -> None:
    assert not back_up_state(url.format(tmp_path), tmp_path / "copy.db")
    assert not list(tmp_path.iterdir())
