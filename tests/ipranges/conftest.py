"""What the tests of ipranges share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ipranges.edge_server import EdgeServer
from tests.ipranges.namespaces import entered, made_namespace, require_namespaces
from tests.ipranges.world import World


@pytest.fixture
def server() -> Iterator[EdgeServer]:
    """A provider on loopback."""
    made = EdgeServer()
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path, server: EdgeServer) -> World:
    """A Cloudflare that answers, and one text file that follows it."""
    made = World(tmp_path, server)
    made.use_cloudflare()
    made.use_text_target()
    return made


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace that the test is in, with nothing but loopback."""
    require_namespaces()
    with made_namespace() as name, entered(name):
        yield name


@pytest.fixture
def isolated_world(namespace: str, tmp_path: Path) -> Iterator[World]:
    """A World whose provider lives in the namespace, so that its firewall is the namespace's."""
    del namespace
    made = EdgeServer()
    world = World(tmp_path, made)
    world.use_cloudflare()
    world.use_text_target()
    yield world
    made.close()
