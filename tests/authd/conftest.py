"""A house for a test. Property tests: no deadline, since the machine may be busy; in CI the same examples always."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.authd.house import House
from tests.authd.pins import CONFIG, PinHouse, Visitor
from tests.harness.memory import find_memory_directory
from tests.harness.smtp import MailServer, start_mail_server

settings.register_profile("authd", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("authd")


@pytest.fixture(autouse=True)
def _patient_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of thousands of calls takes longer than 200 ms on a busy machine. The deadline has its tests in `state`."""
    if "state" not in request.path.parts:
        monkeypatch.setattr("authd.state.sqlite.DEADLINE_SECONDS", 2.0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """On a disk in memory: the store has 200 ms for an answer, and the machine may be busy."""
    with tempfile.TemporaryDirectory(dir=find_memory_directory()) as directory:
        house = House(Path(directory))
        await house.sessions.start()
        yield house
        house.issuers.close()
        await house.store.close()


@pytest.fixture(scope="session")
def running_mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with start_mail_server(tmp_path_factory.mktemp("mail"), demands_login=False) as server:
        yield server


@pytest.fixture
def mail_server(running_mail_server: MailServer) -> MailServer:
    """A real one, which has not taken any mail yet."""
    running_mail_server.mails.clear()
    running_mail_server.refusals.clear()
    return running_mail_server


@pytest.fixture
async def pin_house(house: House, mail_server: MailServer) -> AsyncIterator[PinHouse]:
    """A house in which people log in by a code."""
    house.load(CONFIG)
    made = PinHouse(house, mail_server)
    yield made
    made.close()


@pytest.fixture
def visitor(pin_house: PinHouse) -> Visitor:
    """Somebody who has not been here yet."""
    return Visitor(pin_house)
