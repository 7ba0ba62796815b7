"""Rules on countries in a running installation: the database, another edition of it, and one that is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.browser import Browser
from tests.harness.countries import write_countries
from tests.harness.stack import Stack, start_stack
from tests.stories.test_login import claims_in
from tests.stories.waiting import wait_until

HOST = "grafana.test"
GERMANS = [{"name": "From Germany", "decision": "allow", "include": [{"geo": "DE"}]}]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("countries")
    place(directory, "DE")
    settings = {"geo_database": "countries.mmdb"}
    applications = [{"id": "grafana", "name": "Grafana", "domains": [HOST], "policies": GERMANS}]
    with start_stack(directory, applications=applications, settings=settings) as running:
        yield running


def place(directory: Path, country: str) -> Path:
    """A database that knows where this machine is."""
    return write_countries(directory / "countries.mmdb", {"127.0.0.0/8": {"country": {"iso_code": country}}})


def status(stack: Stack, browser: Browser) -> int:
    return browser.request(stack.url(HOST)).status


def test_another_edition_counts_after_a_reload_and_a_damaged_one_never(stack: Stack) -> None:
    alice = stack.log_in(stack.url(HOST), "alice")
    assert status(stack, alice) == 200
    assert claims_in(alice, HOST)["country"] == "DE"

    place(stack.directory, "FR")
    stack.reload()
    wait_until(lambda: status(stack, alice) == 403, "France counts", seconds=2)

    (stack.directory / "countries.mmdb").write_bytes(b"<html>an error page</html>")
    stack.reload()
    wait_until(lambda: "MaxMind" in str(stack.events("config.refused")), "the damaged database is refused")
    assert status(stack, alice) == 403

    place(stack.directory, "DE")
    stack.reload()
    wait_until(lambda: status(stack, alice) == 200, "Germany counts again", seconds=2)
