"""Stopping: what is under way is finished, and nobody is waited for who only keeps a connection open."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.harness.browser import Answer, Browser
from tests.harness.stack import Stack, start_stack

pytestmark = pytest.mark.nginx


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with start_stack(tmp_path_factory.mktemp("stop"), settings={"workers": 2}) as running:
        yield running


def test_an_idle_connection_of_nginx_holds_nobody_up(stack: Stack) -> None:
    """gunicorn alone waits 10 s for it, and so long nobody could log in."""
    stack.log_in(stack.url("grafana.test"), "alice")
    began = time.monotonic()
    stack.stop_authd()
    assert time.monotonic() - began < 6
    stack.start_authd()


def test_a_login_that_is_under_way_is_finished(stack: Stack) -> None:
    browser = stack.browser()
    at_provider = browser.visit(stack.url("grafana.test"))
    callback_url = stack.provider.log_in(at_provider.location, "alice")
    answers: list[Answer] = []
    stack.provider.process.send_signal(signal.SIGSTOP)
    waiting = threading.Thread(target=lambda: answers.append(browser.request(callback_url)))
    try:
        waiting.start()
        time.sleep(0.3)  # the callback is with authd by now, which waits for the provider
        assert stack.authd is not None
        stack.authd.send_signal(signal.SIGTERM)
        time.sleep(1.0)
    finally:
        stack.provider.process.send_signal(signal.SIGCONT)
    waiting.join(20)
    stack.stop_authd()
    stack.start_authd()
    assert answers[0].status == 302
    assert_is_handed_over(browser, answers[0])


def assert_is_handed_over(browser: Browser, answer: Answer) -> None:
    assert browser.visit(answer.location).status == 200


def test_a_worker_that_is_just_starting_holds_nobody_up(stack: Stack) -> None:
    """uvloop forgets a signal that comes before it runs, and gunicorn then waits 10 s before it kills."""
    stack.stop_authd()
    for _ in range(3):
        stack.start_authd()
        began = time.monotonic()
        stack.stop_authd()
        assert time.monotonic() - began < 6
    stack.start_authd()


def test_the_socket_is_gone_after_a_stop(stack: Stack) -> None:
    """A stopped authd leaves no socket behind that nginx would wait on."""
    stack.stop_authd()
    assert not (stack.directory / "authd.sock").exists()
    stack.start_authd()
