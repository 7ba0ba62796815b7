from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.stack import Stack, start_stack
from tests.security.edge import Edge, make_edge, make_store_with_keys
from tests.security.installation import APPLICATIONS, LOCATIONS, PEOPLE
from tests.security.wire import Visitor

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


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One installation for every attack that goes through nginx. Tests must leave it as it was."""
    directory = tmp_path_factory.mktemp("stack")
    with start_stack(directory, applications=APPLICATIONS, people=PEOPLE, locations=LOCATIONS) as running:
        yield running


@pytest.fixture(scope="session")
def alice(stack: Stack) -> Visitor:
    """Alice, logged in to every host that admits her."""
    return _log_in(
        stack, "alice", ("grafana.test", "/"), ("wiki.other.example", "/"), ("paths.test", "/"), ("api.test", "/")
    )


@pytest.fixture(scope="session")
def root(stack: Stack) -> Visitor:
    """Root, who may do everything."""
    return _log_in(stack, "root", ("grafana.test", "/"), ("paths.test", "/"), ("paths.test", "/admin"))


@pytest.fixture
def nobody(stack: Stack) -> Visitor:
    return Visitor(stack)


def _log_in(stack: Stack, account: str, *pages: tuple[str, str]) -> Visitor:
    browser = stack.browser()
    for host, path in pages:
        stack.log_in(stack.url(host, path), account, browser)
    jars = {host: "; ".join(f"{name}={value}" for name, value in jar.items()) for host, jar in browser.cookies.items()}
    return Visitor(stack, jars)
