"""Sessions by the thousand, written as authd writes them but all at once."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import cast

from authd.model import Identity, Session
from authd.sealing import Sealer
from authd.state import Store
from authd.state.records import Records

SESSION_SECONDS = 86_400
_BEGAN = int(time.time())


def write_rows(path: Path, sealer: Sealer, count: int) -> None:
    """Put sessions into a store that nobody has open, as `Records` would, in one transaction."""
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("BEGIN")
    statement = 'INSERT INTO "values" (kind, id, value, expires_at, owner) VALUES (?, ?, ?, ?, ?)'
    rows = _render_rows(sealer, count)
    while together := list(islice(rows, 1_000)):
        database.executemany(statement, together)
    database.execute("COMMIT")
    database.close()


class _Rows:
    """Stands where a store would, and keeps what `Records` would write there."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, bytes, int, str]] = []

    async def put(self, kind: str, id_: str, value: bytes, *, expires_at: int, owner: str = "") -> None:
        """See `Store.put`."""
        self.written.append((kind, id_, value, expires_at, owner))


def _render_rows(sealer: Sealer, count: int) -> Iterator[tuple[str, str, bytes, int, str]]:
    rows = _Rows()
    records = Records(cast(Store, rows), sealer, on_broken=lambda kind: None, clock=time.time)
    for number in range(count):
        writing = records.add_session(make_session(number))
        # It waits for nothing but the rows above, so its first step is its last.
        try:
            writing.send(None)
        except StopIteration:
            yield rows.written.pop()


def make_session(number: int) -> Session:
    """Always the same for a number, with an id that says nothing about the order, as real ones do not."""
    id_ = hashlib.sha256(f"{number}".encode()).hexdigest()[:16]
    name = f"person-{number}"
    identity = Identity(name, "corp", name, f"{name}@example.com", None, name, ("staff",), ("pwd",), {}, _BEGAN)
    return Session(id_, identity, _BEGAN, _BEGAN + SESSION_SECONDS, "192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64)")
