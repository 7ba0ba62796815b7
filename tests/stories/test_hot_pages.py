"""The promise of two seconds where it is hardest to keep: a page that is asked for all the time, so that nginx has a
decision about it whenever somebody asks, by several at once and with two workers behind."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.harness.browser import Browser, connect
from tests.harness.stack import TEAM, Stack, start_stack
from tests.stories.installation import EVERYONE, STAFF
from tests.stories.test_login import claims_in
from tests.stories.test_logout import LOGOUT, OWN_FORM
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
WITHIN_SECONDS = 2.0
VISITORS = 6
# A page that nginx has itself: what is asked for stays in front of authd, not of an application in Python.
PAGE = """location / {{
    set $authd_app {name};
    include authd/authd-protect.conf;
    root {directory};
    try_files /page.html =404;
}}"""
NOBODY = [{"name": "Not today", "decision": "deny", "include": [{"everyone": True}]}]


class Asked(NamedTuple):
    """One request: when it was begun, in Unix seconds, and what came of it."""

    began: float
    status: int


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("hot")
    (directory / "page.html").write_text("hot")
    names = ("hot", "brief")
    with start_stack(
        directory,
        applications=applications(STAFF),
        locations={f"{name}.test": PAGE.format(name=name, directory=directory) for name in names},
        settings={"workers": 2, "decision_cache_seconds": 1},
    ) as started:
        yield started


def applications(hot: list[dict[str, object]]) -> list[dict[str, object]]:
    return [
        {"id": "hot", "domains": ["hot.test"], "policies": hot},
        {"id": "brief", "domains": ["brief.test"], "session_duration": "6s", "policies": EVERYONE},
    ]


@contextmanager
def asked_all_the_time(stack: Stack, browser: Browser, host: str) -> Iterator[list[Asked]]:
    """VISITORS connections, each asking again as soon as it has an answer, always with the cookies of now."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies[host].items())
    headers = {"Host": f"{host}:{stack.port}", "Cookie": cookies, "Accept": "application/json"}
    asked: list[Asked] = []
    is_over = threading.Event()

    def visit() -> None:
        connection = connect(stack.port, host)
        while not is_over.is_set():
            began = time.time()
            connection.request("GET", "/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            asked.append(Asked(began, answer.status))
        connection.close()

    threads = [threading.Thread(target=visit) for _ in range(VISITORS)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)


def count_checks(stack: Stack) -> int:
    """How often nginx has asked authd."""
    _, text = stack.fetch_authd("/metrics")
    return sum(int(float(count)) for count in re.findall(rb"(?m)^authd_decisions_total\{.*\} (\S+)$", text))


def assert_hot(stack: Stack, asked: list[Asked]) -> None:
    """Everybody is let in, and nginx asks about few of them."""
    wait_until(lambda: len(asked) > 20 * VISITORS, "the page is asked for")
    # What was counted before is told by now: workers do so twice a second.
    time.sleep(1)
    requests, checks = len(asked), count_checks(stack)
    time.sleep(2)
    requests, checks = len(asked) - requests, count_checks(stack) - checks
    assert {each.status for each in asked} == {200}
    # A second is over twice or three times, and then all ask at once.
    assert checks <= 5 * VISITORS
    assert requests > 10 * checks, (requests, checks)


def revoke(stack: Stack, browser: Browser) -> None:
    session = str(claims_in(browser, "hot.test")["identity_nonce"])
    command = [sys.executable, "-m", "authd.cli", "sessions", "revoke", "--session", session]
    subprocess.run([*command, "--config", str(stack.directory / "authd.yml")], check=True, timeout=30)


def log_out(stack: Stack, browser: Browser) -> None:
    answer = browser.request(stack.url(TEAM, LOGOUT), method="POST", headers=OWN_FORM, form={})
    assert answer.status == 200


def change_policy(stack: Stack, browser: Browser) -> None:
    stack.write_config(applications=applications(NOBODY))
    stack.reload()


@pytest.fixture
def alice(stack: Stack) -> Browser:
    """Under the policy that admits her."""
    browser = stack.browser()
    stack.write_config(applications=applications(STAFF))
    stack.reload()
    wait_until(lambda: stack.try_log_in(stack.url("hot.test"), "alice", browser).status == 200, "Alice may log in")
    return browser


@pytest.mark.parametrize(
    ("end", "refusal"),
    [(revoke, 401), (log_out, 401), (change_policy, 403)],
    ids=["revocation", "logout", "policy"],
)
def test_a_hot_page_is_refused_within_two_seconds_under_load(
    stack: Stack, alice: Browser, end: Callable[[Stack, Browser], None], refusal: int
) -> None:
    with asked_all_the_time(stack, alice, "hot.test") as asked:
        assert_hot(stack, asked)
        end(stack, alice)
        ended_at = time.time()
        time.sleep(WITHIN_SECONDS + 2)
    afterwards = [each.status for each in asked if each.began >= ended_at + WITHIN_SECONDS]
    assert len(afterwards) > VISITORS
    assert set(afterwards) == {refusal}


def test_a_hot_page_is_refused_as_soon_as_the_token_has_expired(stack: Stack) -> None:
    browser = stack.log_in(stack.url("brief.test"), "alice")
    expires_at = int(str(claims_in(browser, "brief.test")["exp"]))
    with asked_all_the_time(stack, browser, "brief.test") as asked:
        time.sleep(expires_at - time.time() + 2)
    before = [each.status for each in asked if each.began < expires_at - 1]
    afterwards = [each.status for each in asked if each.began >= expires_at]
    assert len(before) > 20 * VISITORS
    assert len(afterwards) > VISITORS
    assert (set(before), set(afterwards)) == ({200}, {401})
