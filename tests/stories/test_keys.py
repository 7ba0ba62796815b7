"""Keys change while people work: nobody notices a rotation, and everybody a retirement, on every worker at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from tests.harness.browser import Browser
from tests.harness.stack import TEAM, Stack, find_children, start_stack
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
COOKIE = "CF_AUTHORIZATION"
HOSTS = ("grafana.test", "wiki.other.example")
# More answers in a row than one of two workers gives by chance.
BOTH_WORKERS = 20
# On a busy machine the store may miss its deadline, and says so. That is no logout.
BUSY = 503


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two workers, and settings as they come."""
    with start_stack(tmp_path_factory.mktemp("keys"), settings={"workers": 2}) as started:
        yield started


def run_keys(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`authd keys`, as an operator runs it beside the service."""
    command = [sys.executable, "-m", "authd.cli", "keys", *arguments, "--config", str(stack.directory / "authd.yml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def change_keys(stack: Stack, *arguments: str) -> list[dict[str, str]]:
    done = run_keys(stack, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    keys: list[dict[str, str]] = json.loads(done.stdout)["keys"]
    return keys


def key_id_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def certs(stack: Stack) -> dict[str, Any]:
    document: dict[str, Any] = stack.browser().request(stack.url(TEAM, "/cdn-cgi/access/certs")).json()
    return document


def hand_over(stack: Stack, browser: Browser, host: str) -> Browser:
    """A window of this person that has been to the team host alone; it gets a new token on the way to the page."""
    for _ in range(10):
        window = Browser(stack.port, {TEAM: dict(browser.cookies[TEAM])})
        answer = window.visit(stack.url(host))
        if answer.status != BUSY:
            break
    assert answer.status == 200, (answer.status, answer.url, answer.location)
    # The page, the team host, the page's host with the code, the page: once, and no second try.
    assert [step.status for step in window.history] == [302, 302, 302, 200]
    return window


@dataclass
class Load:
    """People who open new windows and go on working in old ones, until told to stop."""

    stack: Stack
    browser: Browser
    key_ids: set[str] = field(default_factory=set)
    requests: int = 0
    mishaps: list[object] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._work, args=(HOSTS[n % 2],)) for n in range(3)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, host: str) -> None:
        old = hand_over(self.stack, self.browser, host)
        while not self._stop.is_set():
            try:
                new = hand_over(self.stack, self.browser, host)
                self.key_ids.add(key_id_of(new.cookies[host][COOKIE]))
                for window in (new, old) * 5:
                    # nginx' cache goes by the address, too: this way it never answers in a worker's place.
                    self.requests += 1
                    window.source_address = f"127.0.{self.requests // 250 % 250 + 1}.{self.requests % 250 + 1}"
                    answer = window.request(self.stack.url(host))
                    if answer.status not in (200, BUSY):
                        self.mishaps.append((answer.status, answer.location))
            except Exception as error:  # noqa: BLE001 - every mishap counts, whatever it is
                self.mishaps.append(error)


def lead_to_every_worker(stack: Stack, is_so: Callable[[], bool]) -> None:
    """Until nginx opens new connections, all of them lead to the worker that was there before; and which worker takes
    a new one is chance."""
    for _ in range(20):
        stack.nginx.reload()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if is_so():
                return
            time.sleep(0.02)
    pytest.fail("no request has reached the new worker")


def test_two_rotations_and_a_new_worker_under_load_log_nobody_out(stack: Stack) -> None:
    """F15. The new worker signs with a key that the old one has never heard of until it meets a token of it."""
    alice = stack.log_in(stack.url("grafana.test"), "alice")
    before = {key["kid"] for key in certs(stack)["keys"]}
    authd = stack.authd
    assert authd
    with Load(stack, alice) as load:
        refused = run_keys(stack, "rotate")
        once = change_keys(stack, "rotate", "--now")
        twice = change_keys(stack, "rotate", "--now")
        victim = find_children(authd.pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(find_children(authd.pid)) - {victim}) == 2, "a new worker")
        (signing,) = (key["kid"] for key in twice if key["state"] == "signs")
        lead_to_every_worker(stack, lambda: bool(signing in load.key_ids or load.mishaps))
        enough = load.requests + 100
        wait_until(lambda: load.requests > enough or load.mishaps, "people have worked with the new key's tokens")

    assert load.mishaps == []
    assert load.key_ids <= {key["kid"] for key in twice[:3]}
    assert len(load.key_ids) > 1
    assert refused.returncode == 1
    assert "has not been published for 24 h yet" in refused.stderr
    assert "--now" in refused.stderr
    assert [key["state"] for key in once] == ["verifies", "signs", "next"]
    assert [key["state"] for key in twice] == ["verifies", "verifies", "signs", "next"]
    assert [key["kid"] for key in twice[:3]] == [key["kid"] for key in once]
    assert {key["kid"] for key in twice[:2]} == before
    assert len({key["kid"] for key in twice}) == 4
    # Whoever reads the keys from either worker can verify what either of them signs, by now.
    for _ in range(BOTH_WORKERS):
        assert {key["kid"] for key in certs(stack)["keys"]} == {key["kid"] for key in twice}


def test_a_retired_key_is_dead_on_every_worker_within_two_seconds_and_no_other_is(stack: Stack) -> None:
    """F16, through nginx' cache. Whoever holds a token of another key does not notice."""
    old = stack.log_in(stack.url("grafana.test"), "alice")
    change_keys(stack, "rotate", "--now")
    stack.stop_authd()
    stack.start_authd()
    new = stack.log_in(stack.url("grafana.test"), "alice")
    key_id = key_id_of(new.cookies["grafana.test"][COOKIE])
    assert key_id != key_id_of(old.cookies["grafana.test"][COOKIE])
    assert all(new.request(stack.url("grafana.test")).status == 200 for _ in range(BOTH_WORKERS))

    left = change_keys(stack, "retire", key_id)
    started = time.monotonic()
    wait_until(lambda: new.request(stack.url("grafana.test")).status == 302, "the token is refused")
    took = time.monotonic() - started

    assert took < 2
    time.sleep(max(0.0, 2 - took))
    for _ in range(BOTH_WORKERS):
        assert new.request(stack.url("grafana.test")).status == 302
        assert old.request(stack.url("grafana.test")).status == 200
        assert key_id not in {key["kid"] for key in certs(stack)["keys"]}
    assert key_id not in {key["kid"] for key in left}
    again = stack.log_in(stack.url("grafana.test"), "alice")
    (signing,) = (key["kid"] for key in left if key["state"] == "signs")
    assert key_id_of(again.cookies["grafana.test"][COOKIE]) == signing
    assert {event["kid"] for event in stack.events("key.retired")} == {key_id}
    assert len(stack.events("key.retired")) == 2, "each worker says so"


def test_no_part_of_a_private_key_is_told_to_anybody(stack: Stack) -> None:
    told = stack.log_text + run_keys(stack, "list").stdout + run_keys(stack, "list", "--json").stdout

    assert "PRIVATE" not in told
    assert '"d"' not in told
    for key in change_keys(stack, "list"):
        assert set(key) == {"kid", "state", "created", "signs_from", "verifies_until"}
        assert key["created"] <= key["signs_from"] < key["verifies_until"]


def test_a_key_that_is_not_there_cannot_be_retired(stack: Stack) -> None:
    for unknown in ("f" * 64, "", "../x"):
        refused = run_keys(stack, "retire", unknown)

        assert refused.returncode == 1
        assert refused.stderr == "authd: there is no key of that id; run: authd keys list\n"
