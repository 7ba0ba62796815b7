"""Every store there is, behind one fixture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from authd.errors import StoreUnavailableError
from authd.state import Store, open_store
from tests.harness.redis import (
    RedisServers,
    find_valkey,
    running_cluster,
    running_guarded_cluster,
    running_guarded_redis,
    running_guarded_sentinels,
    running_redis,
    running_sentinels,
)

_RUNNING = {
    "redis": running_redis,
    "redis over TLS, few rights": running_guarded_redis,
    "sentinel": running_sentinels,
    "sentinel over TLS, few rights": running_guarded_sentinels,
    "cluster": running_cluster,
    "cluster over TLS, few rights": running_guarded_cluster,
    "valkey": partial(running_redis, program=find_valkey()),
    "valkey sentinel": partial(running_sentinels, program=find_valkey()),
    "valkey cluster": partial(running_cluster, program=find_valkey()),
}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stores promise is not how fast they are: on a busy machine, fifty calls over new connections with TLS may
    take longer than 200 ms. The deadline has its tests in tests/faults."""
    for module in ("sqlite", "redis_link", "redis_server"):
        monkeypatch.setattr(f"authd.state.{module}.DEADLINE_SECONDS", 5.0)
    monkeypatch.setattr("authd.state.redis_link._WAIT_MS", 2000)


@pytest.fixture(scope="session", params=["sqlite", *_RUNNING])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers | None]:
    """The servers of one kind, None for SQLite. Grouped by kind, so that only one kind runs at a time."""
    if request.param == "sqlite":
        yield None
        return
    with _RUNNING[request.param](tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
async def store(servers: RedisServers | None, tmp_path: Path) -> AsyncIterator[Store]:
    if servers is not None:
        servers.empty()
    opened = open_store(servers.url if servers else f"sqlite:{tmp_path}/authd.db")
    # As authd does at start: on a busy machine the way to a master may take longer than one call.
    while True:
        try:
            await opened.check()
            break
        except StoreUnavailableError:
            await asyncio.sleep(0.05)
    yield opened
    await opened.close()
    await _wait_for_goodbyes()


async def _wait_for_goodbyes() -> None:
    """Connections with TLS are closed in two steps. A loop that ended in between would be told of as leaking."""
    registered = cast(Any, asyncio.get_running_loop())._selector.get_map()
    async with asyncio.timeout(10):
        while len(registered) > 1:  # the loop's own way to wake up
            await asyncio.sleep(0.01)
