"""An identity provider that is down, slow, broken, or changes its keys (reference/attacks.md F10 to F13)."""

from __future__ import annotations

import copy
import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.load import under_load
from tests.faults.visits import wait_until
from tests.forge import rsa_key
from tests.harness.browser import Answer, Browser
from tests.harness.nginx import find_free_port
from tests.harness.stack import Stack, start_stack
from tests.idp_server import CLIENT_SECRET, FakeProvider, running_provider

pytestmark = pytest.mark.nginx
HOST = "grafana.test"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider) -> Iterator[Stack]:
    """Two workers that begin while the provider cannot be reached at all."""
    directory = tmp_path_factory.mktemp("providers")
    (directory / "fake.secret").write_text(CLIENT_SECRET)
    nobody = f"http://127.0.0.1:{find_free_port()}"
    settings = {"workers": 2, "decision_cache_seconds": 0}
    provider = {"issuer": nobody, "client_secret_file": "fake.secret"}
    with start_stack(directory, settings=settings, provider_settings=provider) as running:
        yield running


@pytest.fixture
def behaving(fake: FakeProvider) -> Iterator[FakeProvider]:
    fake.misbehave = set()
    yield fake
    fake.misbehave = set()


def use(stack: Stack, issuer: str, id_: str) -> None:
    """A provider of a new id, so that nothing is known of it and nothing was asked of it yet."""
    loaded = len(stack.events("config.loaded"))
    entry = stack.config["identity_providers"][0] | {"issuer": issuer, "id": id_, "name": "Company login"}
    stack.write_config(identity_providers=[entry])
    stack.reload()
    wait_until(lambda: len(stack.events("config.loaded")) >= loaded + 2)


def reach_provider(stack: Stack, browser: Browser) -> Answer:
    """As far as authd's last answer before the browser leaves for the provider."""
    return browser.visit(stack.url(HOST))


def log_in(stack: Stack, browser: Browser) -> Answer:
    """A whole login; the provider takes whoever comes for Alice."""
    at_provider = reach_provider(stack, browser)
    if at_provider.status != 302:
        return at_provider
    parts = urlsplit(at_provider.location)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}")
    callback_url = connection.getresponse().headers["Location"]
    connection.close()
    return browser.visit(callback_url)


def test_authd_starts_without_the_provider_and_names_it(stack: Stack) -> None:
    assert stack.ask_authd("/readyz") == 200
    answer = reach_provider(stack, stack.browser())
    assert (answer.status, answer.get("Retry-After")) == (503, "5")
    assert "Company login" in answer.text
    (line,) = stack.events("login.failed")
    assert (line["idp"], line["reason"]) == ("corp", "unreachable")


def test_whoever_is_in_notices_nothing_of_a_provider_that_is_down(stack: Stack, behaving: FakeProvider) -> None:
    use(stack, behaving.issuer, "first")
    alice = stack.browser()
    assert log_in(stack, alice).status == 200
    use(stack, f"http://127.0.0.1:{find_free_port()}", "first")
    assert alice.request(stack.url(HOST)).status == 200
    assert alice.visit(stack.url("wiki.other.example")).status == 200
    assert stack.ask_authd("/readyz") == 200
    assert reach_provider(stack, stack.browser()).status == 503


@pytest.mark.parametrize("fault", ["token-slow", "token-drip"])
def test_a_slow_provider_is_given_five_seconds_and_delays_nobody_else(
    stack: Stack, behaving: FakeProvider, fault: str
) -> None:
    use(stack, behaving.issuer, f"slow-{fault}")
    alice = stack.browser()
    assert log_in(stack, alice).status == 200
    behaving.misbehave = {fault}
    waiting: list[tuple[int, float]] = []

    def wait() -> None:
        began = time.monotonic()
        waiting.append((log_in(stack, stack.browser()).status, time.monotonic() - began))

    threads = [threading.Thread(target=wait) for _ in range(6)]
    with under_load(lambda: copy.deepcopy(alice), stack.url(HOST), visitors=2) as load:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert {status for status, _ in waiting} == {503}
    assert max(seconds for _, seconds in waiting) < 12
    assert load.statuses.keys() == {200}
    assert load.slowest_seconds < 2.5


@pytest.mark.parametrize("fault", ["html-200", "empty", "500", "50mb", "redirect"])
def test_a_broken_key_set_admits_nobody_and_loses_no_good_one(stack: Stack, behaving: FakeProvider, fault: str) -> None:
    use(stack, behaving.issuer, f"keys-{fault}")
    behaving.misbehave = {f"jwks-{fault}"}
    refused = log_in(stack, stack.browser())
    assert refused.status in (400, 503)
    assert "__Host-authd_team" not in "".join(refused.get_all("Set-Cookie"))
    behaving.misbehave = set()
    for _ in range(4):  # both workers have the good one now
        assert log_in(stack, stack.browser()).status == 200
    behaving.misbehave = {f"jwks-{fault}"}
    for _ in range(4):
        assert log_in(stack, stack.browser()).status == 200
    behaving.rotate()
    assert log_in(stack, stack.browser()).status in (400, 503)


def log_in_often(stack: Stack) -> list[int]:
    """Over connections of nginx that are new, and so may lead to either worker."""
    stack.nginx.reload()
    time.sleep(0.2)
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda _: log_in(stack, stack.browser()).status, range(8)))


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_change_of_keys_fails_no_login_and_is_fetched_once(stack: Stack, is_announced: bool) -> None:
    """Over both workers: the one that may not fetch takes what the other one left."""
    for name in ("provider-1", "provider-2"):
        rsa_key(name)  # made here: two threads that need it first would make two
    with running_provider() as provider:
        use(stack, provider.issuer, f"rollover-{is_announced}")
        wait_until(lambda: log_in_often(stack) == [200] * 8 and provider.counts["/jwks"] >= 2, seconds=40)
        fetched = provider.counts["/jwks"]
        provider.rotate(keep_old=is_announced)
        for _ in range(4):
            assert log_in_often(stack) == [200] * 8
        assert provider.counts["/jwks"] == fetched + 1


def test_nothing_of_all_this_stands_in_the_log_with_a_secret(stack: Stack) -> None:
    assert CLIENT_SECRET not in stack.log_text
    assert not any("error.unhandled" in line for line in Path(stack.directory / "authd.log").read_text().splitlines())
