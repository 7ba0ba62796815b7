"""What no request waits for: the loop that follows revocations, configurations and keys must outlive every fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from authd import worker as worker_module
from authd.config import Config, parse_config
from authd.errors import ConfigError, SecretError
from authd.sealing import Sealer
from authd.state.sqlite import SqliteStore
from authd.worker import Worker
from tests.faults.failpoints import ERRORS

STEPS = {
    "start": (Worker, "start"),
    "upkeep": (Worker, "upkeep"),
    "poll": (worker_module.Sessions, "poll"),
    "begin": (worker_module.Sessions, "start"),
    "revocations": (worker_module.Records, "list_revocations"),
    "keyring": (worker_module.Records, "load_keyring"),
    "rotation": (worker_module.Records, "change_keyring"),
    "keyring row": (worker_module.Records, "_find_or_make_keyring"),
    "keys": (worker_module.SharedKeyring, "refresh"),
    "cursor": (SqliteStore, "cursor"),
    "tombstones": (SqliteStore, "tombstones_since"),
    "sweep": (SqliteStore, "sweep"),
    "round": (Worker, "_follow_store"),
    "metrics": (worker_module.Metrics, "flush"),
}
TEXT = """
team_domain: auth.example.com
listen: unix:/run/authd/authd.sock
state: sqlite:/var/lib/authd/authd.db
secret_file: /etc/authd/secret
identity_providers:
  - {id: corp, type: oidc, name: Corp, issuer: https://idp.example.com, client_id: authd}
applications:
  - id: wiki
    name: Wiki
    domains: [wiki.example.com]
    policies: [{name: All, decision: allow, include: [everyone: {}]}]
"""
Failure = Callable[[], BaseException]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(worker_module, "_UPKEEP_SECONDS", 0)


@pytest.fixture
def config() -> Config:
    return parse_config(TEXT, source="authd.yml", base_dir=Path())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "authd.db")
    yield opened
    await opened.close()


@pytest.fixture
async def worker(config: Config, store: SqliteStore) -> AsyncIterator[Worker]:
    made = Worker(config, store=store, sealer=Sealer([b"s" * 32]))
    yield made
    made.close()


@contextmanager
def failing(step: str, failure: Failure) -> Iterator[None]:
    owner, name = STEPS[step]

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise failure()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield


async def run_for(worker: Worker, until: Callable[[], bool]) -> asyncio.Task[None]:
    """The loop, as far as the condition. Fails if it ends or never gets there."""
    task = asyncio.create_task(worker.run())
    await go_on(task, until)
    return task


async def go_on(task: asyncio.Task[None], until: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not until():
            assert not task.done(), task.exception()
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [name for name in ERRORS if name != "CancelledError"])
async def test_the_loop_goes_on_after_any_error(worker: Worker, step: str, error: str) -> None:
    """A loop that died would miss every revocation from then on."""
    with failing(step, ERRORS[error]):
        task = asyncio.create_task(worker.run())
        await asyncio.sleep(0.02)
        assert not task.done()
    await go_on(task, lambda: worker.problems() == [])
    task.cancel()


@pytest.mark.parametrize("error", [ConfigError("authd.yml", ()), SecretError("no"), ValueError("no"), OSError("no")])
async def test_the_loop_goes_on_after_a_configuration_that_a_worker_cannot_take(
    config: Config, store: SqliteStore, error: Exception
) -> None:
    asked = []

    def find_new() -> Config | None:
        asked.append(error)
        raise error

    worker = Worker(config, store=store, sealer=Sealer([b"s" * 32]), new_config=find_new)
    task = await run_for(worker, lambda: len(asked) > 3)
    assert worker.policies().config is config
    assert worker.problems() == []
    task.cancel()
    worker.close()


async def test_an_outage_is_two_lines_however_long_it_lasts(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(worker_module, "log_event", lambda event, **fields: events.append(event))
    await worker.start()
    task = await run_for(worker, lambda: worker.problems() == [])
    with failing("tombstones", ERRORS["StoreUnavailableError"]):
        await go_on(task, lambda: worker.problems() == ["failpoint"])
        await asyncio.sleep(0.1)
    await go_on(task, lambda: worker.problems() == [])
    assert [event for event in events if event.startswith("store")] == ["store.down", "store.up"]
    task.cancel()


async def test_a_store_that_takes_no_writes_is_down_although_it_answers_every_poll(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: somebody's login fails, the loop looks, and says so until a write succeeds again."""
    monkeypatch.setattr(worker_module, "_UPKEEP_SECONDS", 1000)
    task = await run_for(worker, lambda: worker.problems() == [])
    with pytest.MonkeyPatch.context() as full:

        async def refuse(*args: Any, **kwargs: Any) -> None:
            raise ERRORS["StoreUnavailableError"]()

        full.setattr(SqliteStore, "put", refuse)
        worker.suspect_store()
        await go_on(task, lambda: worker.problems() == ["failpoint"])
        await asyncio.sleep(0.05)
        assert worker.problems() == ["failpoint"]
        assert b"authd_store_up 0.0" in worker.metrics.render()
    await go_on(task, lambda: worker.problems() == [])
    assert b"authd_store_up 1.0" in worker.metrics.render()
    task.cancel()


async def test_the_probe_is_one_row(worker: Worker, store: SqliteStore) -> None:
    await worker.start()
    size = await store.size()
    for _ in range(5):
        await worker.upkeep()
    assert await store.size() == size
    assert json.dumps(worker.problems()) == "[]"
