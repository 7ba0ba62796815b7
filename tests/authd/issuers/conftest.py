from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.authd.idp.logins import reset
from tests.forge import rsa_key
from tests.idp_server import FakeProvider, running_provider


@pytest.fixture(scope="session")
def _server() -> Iterator[FakeProvider]:
    for number in range(1, 5):
        rsa_key(f"provider-{number}")
    with running_provider() as server:
        yield server


@pytest.fixture
def publisher(_server: FakeProvider) -> FakeProvider:
    """Who publishes the edge's keys, at `/jwks`. It behaves until the test says otherwise."""
    reset(_server)
    _server.key_names = ["provider-1"]
    return _server
