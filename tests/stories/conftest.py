"""One installation for all stories that leave it as it was; stories that change one start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.browser import Browser
from tests.harness.stack import ALICE, MALLORY, Stack, start_stack
from tests.stories.installation import APPLICATIONS, LOCATIONS


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("installation")
    with start_stack(directory, applications=APPLICATIONS, locations=LOCATIONS, people=(ALICE, MALLORY)) as stack:
        yield stack


@pytest.fixture
def stack(installation: Stack) -> Stack:
    """The installation, with nothing having reached the application yet."""
    installation.application.seen.clear()
    return installation


@pytest.fixture(scope="session")
def alice_everywhere(installation: Stack) -> Browser:
    """Alice, logged in to Grafana. For reading only: copy it before anything that changes cookies."""
    return installation.log_in(installation.url("grafana.test"), "alice")


@pytest.fixture
def alice(installation: Stack, alice_everywhere: Browser, stack: Stack) -> Browser:
    """Alice's browser, as it was after her login."""
    return Browser(installation.port, {host: dict(jar) for host, jar in alice_everywhere.cookies.items()})
