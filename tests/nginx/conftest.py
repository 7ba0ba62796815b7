"""One nginx for each module: its configuration is the module's `HTTP`, its settings `SETTINGS` if there are any."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.harness.protected import Site, running_site


@pytest.fixture(scope="module")
def module_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("nginx")
    with running_site(directory, request.module.HTTP, getattr(request.module, "SETTINGS", None)) as site:
        yield site


@pytest.fixture
def site(module_site: Site) -> Site:
    """The module's site, with nothing remembered and authd friendly."""
    # Decisions end with the clock's ten seconds (ADR 0117): not in the middle of a test.
    if time.time() % 10 > 9:
        time.sleep(10 - time.time() % 10)
    module_site.forget()
    return module_site
