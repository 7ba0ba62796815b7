from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authd.config import OidcConfig
from authd.idp import OidcProvider
from tests.authd.idp.logins import make_settings, make_worker, reset
from tests.idp_server import FakeProvider, running_provider


@pytest.fixture(scope="session")
def _server() -> Iterator[FakeProvider]:
    with running_provider() as idp:
        yield idp


@pytest.fixture
def idp(_server: FakeProvider) -> FakeProvider:
    """A provider that behaves, until the test says otherwise."""
    reset(_server)
    return _server


@pytest.fixture
def settings(idp: FakeProvider) -> OidcConfig:
    return make_settings(idp.issuer)


@pytest.fixture
def start_worker() -> Iterator[Callable[..., OidcProvider]]:
    """Makes providers as workers do, and closes them."""
    made: list[OidcProvider] = []

    def start(settings: OidcConfig, **arguments: Any) -> OidcProvider:
        made.append(make_worker(settings, **arguments))
        return made[-1]

    yield start
    for worker in made:
        worker.close()


@pytest.fixture
def worker(settings: OidcConfig, start_worker: Callable[..., OidcProvider]) -> OidcProvider:
    return start_worker(settings)
