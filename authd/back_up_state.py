"""`authd state backup`: a whole copy of the SQLite store, made while authd goes on writing to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from authd.errors import StoreUnavailableError, StoreUnfitError


def back_up_state(state_url: str, target: Path) -> bool:
    """Copy the store; False if there is no file to copy. The copy belongs to whoever calls, and nobody else reads it.

    Raises StoreUnfitError if the target exists, StoreUnavailableError if it cannot be written or the store not be read.
    """
    scheme, _, path = state_url.partition(":")
    source = Path(path)
    if scheme != "sqlite" or not source.is_file():
        return False
    beside = target.with_name(f"{target.name}.unfinished")
    try:
        if target.exists():
            raise StoreUnfitError(f"{target}: exists already")
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _copy(source, beside)
        os.replace(beside, target)
    except (OSError, sqlite3.Error) as error:
        beside.unlink(missing_ok=True)
        raise StoreUnavailableError(f"{source} could not be copied to {target}: {error}") from error
    return True


def _copy(source: Path, target: Path) -> None:
    """Whole, and as of one moment, whatever is written meanwhile; on the disk when this returns."""
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reading,
        contextlib.closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
        (verdict,) = writing.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    with target.open("rb") as copy:
        os.fsync(copy.fileno())
