"""A house for a test. Property tests: no deadline, since the machine may be busy; in CI the same examples always."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.authd.house import House
from tests.harness.memory import find_memory_directory

settings.register_profile("authd", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("authd")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """On a disk in memory: the store has 200 ms for an answer, and the machine may be busy."""
    with tempfile.TemporaryDirectory(dir=find_memory_directory()) as directory:
        house = House(Path(directory))
        await house.sessions.start()
        yield house
        house.issuers.close()
        await house.store.close()
