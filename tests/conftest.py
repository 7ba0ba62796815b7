"""Where tests keep their files: in memory, where there is enough of it.

Dozens of installations write to SQLite with `synchronous=FULL`. On a busy disk their commits would take longer than the
200 ms that a call to the store may take, and a test would fail for the machine's sake. Tests of slow, full or damaged
disks make their own.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 2 * 1024**3
_MADE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    if config.option.basetemp or hasattr(config, "workerinput") or not _has_room():
        return
    config.option.basetemp = config.stash[_MADE] = tempfile.mkdtemp(prefix="authd-tests-", dir=_MEMORY)


def pytest_collection_finish() -> None:
    """Thousands of tests are a million objects: collecting among them takes longer than a call to the store may."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _MADE in config.stash:
        shutil.rmtree(config.stash[_MADE], ignore_errors=True)


def _has_room() -> bool:
    return os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
