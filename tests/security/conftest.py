from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.security.edge import Edge, make_edge, make_store_with_keys

StartEdge = Callable[..., Awaitable[Edge]]


@pytest.fixture(scope="session")
def store_with_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store_with_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
async def start_edge(store_with_keys: Path, tmp_path: Path) -> AsyncIterator[StartEdge]:
    """Starts workers with other settings; every one of a test has the same store and keys."""
    edges: list[Edge] = []
    for file in store_with_keys.parent.glob("authd.db*"):
        shutil.copy(file, tmp_path / file.name)

    async def start(**settings: Any) -> Edge:
        edge = make_edge(tmp_path, **settings)
        edges.append(edge)
        await edge.worker.start()
        return edge

    yield start
    for edge in edges:
        edge.worker.close()
        await edge.worker.store.close()


@pytest.fixture
async def edge(start_edge: StartEdge) -> Edge:
    return await start_edge()
