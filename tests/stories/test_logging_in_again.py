"""A browser has one session: logging in again ends the one before, but no tab that logs in at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.harness.stack import Stack, start_stack
from tests.stories.waiting import wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with start_stack(tmp_path_factory.mktemp("again")) as started:
        yield started


def wait_for_the_next_second() -> None:
    """Sessions know when they began to the second."""
    now = int(time.time())
    wait_until(lambda: int(time.time()) > now, "a second passes")


def test_the_session_before_ends_with_the_next_login_of_the_same_person(stack: Stack) -> None:
    browser = stack.log_in(stack.url("grafana.test"), "alice")
    old = dict(browser.cookies["grafana.test"])
    wait_for_the_next_second()
    another = "/cdn-cgi/access/login?prompt=select_account&redirect_url=%2F"
    stack.log_in(stack.url("grafana.test", another), "alice", browser)
    assert browser.request(stack.url("grafana.test")).status == 200
    assert browser.cookies["grafana.test"]["CF_AUTHORIZATION"] != old["CF_AUTHORIZATION"]
    thief = stack.browser()
    thief.cookies["grafana.test"] = old
    wait_until(lambda: thief.request(stack.url("grafana.test")).status == 302, "the session before has ended")


def test_a_tab_that_logs_in_at_the_same_time_ends_no_other(stack: Stack) -> None:
    browser = stack.browser()
    first, second = (browser.visit(stack.url("grafana.test", path)) for path in ("/1", "/2"))
    assert browser.visit(stack.provider.log_in(first.location, "alice")).status == 200
    held = dict(browser.cookies["grafana.test"])
    assert browser.visit(stack.provider.log_in(second.location, "alice")).status == 200
    faster = stack.browser()
    faster.cookies["grafana.test"] = held
    wait_for_the_next_second()
    assert faster.request(stack.url("grafana.test")).status == 200
