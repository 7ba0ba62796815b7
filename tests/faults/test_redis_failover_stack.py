"""Another server takes over behind a whole installation: nginx, two workers, three Sentinels.

Who is in stays in all the while, and a login that was acknowledged before is there afterwards, also for workers that
have never seen it.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness.browser import Browser
from tests.harness.redis import RedisServers, is_replicated, running_sentinels
from tests.harness.redis import wait_until as wait_for_redis
from tests.harness.stack import ALICE, TEAM, Person, Stack, start_stack
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
GRAFANA = "grafana.test"
LATE = Person("late", {"email": "late@example.com", "email_verified": True, "groups": []})
OWN_FORM = (("Sec-Fetch-Site", "same-origin"), ("Accept", "text/html"))
# Until authd has found another master, which Sentinels need a while to choose.
PATIENCE_SECONDS = 60


@pytest.fixture
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running_sentinels(tmp_path_factory.mktemp("trio")) as running:
        yield running


@pytest.fixture
def stack(trio: RedisServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"state": trio.url, "workers": 2, "decision_cache_seconds": 0}
    people = (ALICE, LATE)
    with start_stack(tmp_path_factory.mktemp("stack"), settings=settings, people=people) as running:
        yield running


class Working:
    """Somebody who asks for a page again and again, and what they got."""

    def __init__(self, stack: Stack, browser: Browser) -> None:
        self.statuses: Counter[int] = Counter()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(stack, browser))
        self._thread.start()

    def _work(self, stack: Stack, browser: Browser) -> None:
        while not self._is_over.is_set():
            self.statuses[browser.request(stack.url(GRAFANA)).status] += 1

    def stop(self) -> Counter[int]:
        self._is_over.set()
        self._thread.join()
        return self.statuses


def log_in_patiently(stack: Stack, account: str) -> Browser:
    """As people do: who sees a 503 tries again."""
    browsers: list[Browser] = []

    def try_it() -> bool:
        browser = stack.browser()
        browsers.append(browser)
        return stack.try_log_in(stack.url(GRAFANA), account, browser).status == 200

    wait_until(try_it, f"{account} can log in", PATIENCE_SECONDS)
    return browsers[-1]


def is_in(stack: Stack, browser: Browser) -> bool:
    return browser.request(stack.url(GRAFANA)).status == 200


@pytest.mark.parametrize("how", ["asked", pytest.param("killed", marks=pytest.mark.elections)])
def test_nobody_is_logged_out_and_no_login_is_lost(stack: Stack, trio: RedisServers, how: str) -> None:
    alice = log_in_patiently(stack, "alice")
    # So often that both workers have seen her.
    assert {stack.ask_check(alice, GRAFANA, "grafana") for _ in range(60)} == {200}
    old = trio.find_master()
    wait_for_redis(lambda: is_replicated(old))
    late = log_in_patiently(stack, "late")
    working = Working(stack, alice)

    if how == "asked":
        wait_for_redis(lambda: trio.sentinels[0].ask("SENTINEL", "FAILOVER", "authd-master"))
    else:
        old.stop(signal.SIGKILL)
    wait_for_redis(lambda: trio.find_master() is not old, PATIENCE_SECONDS)
    again = log_in_patiently(stack, "alice")

    statuses = working.stop()
    assert set(statuses) == {200}, statuses
    assert statuses[200] > 10
    stack.stop_authd()
    stack.start_authd()
    for browser in (alice, late, again):
        wait_until(lambda browser=browser: is_in(stack, browser), "who was in is in", PATIENCE_SECONDS)

    def log_out() -> bool:
        url = stack.url(TEAM, "/cdn-cgi/access/logout")
        return late.request(url, method="POST", headers=OWN_FORM, form={}).status == 200

    kept = stack.browser()
    kept.cookies[GRAFANA] = dict(late.cookies[GRAFANA])
    wait_until(log_out, "a logout is taken again", PATIENCE_SECONDS)
    wait_until(lambda: not any(is_in(stack, kept) for _ in range(20)), "and holds on every worker")
    assert is_in(stack, alice)
