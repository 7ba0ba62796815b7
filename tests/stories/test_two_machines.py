"""Two machines that share the Redis which Sentinel watches: log in on one, work on the other, log out on either."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.browser import NAVIGATION, Browser
from tests.harness.redis import RedisServers, running_sentinels
from tests.harness.second_machine import SECOND, second_machine
from tests.harness.stack import TEAM, Stack, start_stack
from tests.stories.test_login import claims_in
from tests.stories.waiting import wait_until

FIRST = "127.0.0.1"
LOGOUT = "/cdn-cgi/access/logout"
OWN_FORM = (*NAVIGATION[:3], ("Sec-Fetch-Site", "same-origin"))
# The promise of design 2, and what a busy machine takes to ask.
WITHIN_SECONDS = 2.5


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running_sentinels(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def machines(redis: RedisServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    settings = {"state": redis.url}
    with (
        start_stack(tmp_path_factory.mktemp("first"), settings=settings) as first,
        second_machine(first, tmp_path_factory.mktemp("second")) as second,
    ):
        yield first, second


def on(browser: Browser, machine: str) -> Browser:
    """The same browser, with the same cookies, sent to a machine by the balancer."""
    return replace(browser, machine=machine)


@pytest.mark.parametrize(("logged_in_on", "logged_out_on"), [(FIRST, SECOND), (SECOND, SECOND), (FIRST, FIRST)])
def test_a_session_lives_and_ends_on_both(machines: tuple[Stack, Stack], logged_in_on: str, logged_out_on: str) -> None:
    stack, _ = machines
    grafana = stack.url("grafana.test")
    browser = stack.log_in(grafana, "alice", Browser(stack.port, machine=logged_in_on))
    for machine in (FIRST, SECOND, FIRST, SECOND):
        assert on(browser, machine).request(grafana).status == 200, machine
    # The organisation's session is known on both, too: another application without another login.
    other = FIRST if logged_in_on == SECOND else SECOND
    assert on(browser, other).visit(stack.url("wiki.other.example")).status == 200

    answer = on(browser, logged_out_on).request(stack.url(TEAM, LOGOUT), method="POST", headers=OWN_FORM, form={})
    assert answer.status in (200, 302, 303)
    for machine in (FIRST, SECOND):
        kept = on(browser, machine)
        wait_until(lambda kept=kept: kept.request(grafana).status != 200, f"out on {machine}", WITHIN_SECONDS)
        assert kept.request(stack.url("wiki.other.example")).status != 200


def test_a_login_may_change_machines_at_every_step(machines: tuple[Stack, Stack]) -> None:
    stack, _ = machines
    browser = Browser(stack.port)
    answer = browser.request(stack.url("grafana.test"))
    turn = 0
    while answer.status in (302, 303):
        turn += 1
        target = answer.location
        if target.startswith(stack.provider.issuer):
            target = stack.provider.log_in(target, "alice")
        answer = on(browser, (FIRST, SECOND)[turn % 2]).request(target)
    assert answer.status == 200
    assert turn >= 4


REVOCATIONS = {
    "one": lambda session: ["--session", session[:8]],
    "person": lambda session: ["--person", "Alice@Example.com"],
    "provider": lambda session: ["--provider", "corp"],
    "everything": lambda session: ["--everything", "--yes"],
    "application": lambda session: ["--application", "grafana"],
}


def run_sessions(machine: Stack, *arguments: str) -> dict[str, Any]:
    """`authd sessions`, as an operator runs it on one of the machines."""
    command = [sys.executable, "-m", "authd.cli", "sessions", *arguments, "--json"]
    command += ["--config", str(machine.directory / "authd.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("what", REVOCATIONS)
def test_an_operator_revokes_on_one_machine_and_a_hot_page_is_refused_on_both(
    machines: tuple[Stack, Stack], what: str
) -> None:
    first, second = machines
    grafana = first.url("grafana.test")
    alice = first.log_in(grafana, "alice")
    session = str(claims_in(alice, "grafana.test")["identity_nonce"])
    listed = run_sessions(second, "list", "--person", "alice@example.com")["sessions"]
    assert session in {each["id"] for each in listed}
    assert run_sessions(second, "show", session[:8])["email"] == "alice@example.com"
    for machine in (FIRST, SECOND) * 3:
        assert on(alice, machine).request(grafana).status == 200

    revoked = run_sessions(second, "revoke", *REVOCATIONS[what](session))

    assert revoked["sessions"] == (None if what == "application" else revoked["sessions"] or 0)
    for machine in (FIRST, SECOND):
        kept = on(alice, machine)
        wait_until(lambda kept=kept: kept.request(grafana).status == 302, f"out on {machine}", WITHIN_SECONDS)
    # Who may log in may do so again at once; of an application alone, the way there asks nobody anything.
    if what == "application":
        time.sleep(1)
        assert on(alice, SECOND).visit(grafana).status == 200
    else:
        time.sleep(1)
        assert on(first.log_in(grafana, "alice"), SECOND).request(grafana).status == 200


def test_both_sign_with_the_same_keys(machines: tuple[Stack, Stack]) -> None:
    stack, _ = machines
    certs = [
        Browser(stack.port, machine=each).request(stack.url(TEAM, "/cdn-cgi/access/certs")) for each in (FIRST, SECOND)
    ]
    assert certs[0].json()["keys"] == certs[1].json()["keys"] != []


def test_the_death_of_the_master_logs_nobody_out_and_forgets_no_logout(
    machines: tuple[Stack, Stack], redis: RedisServers
) -> None:
    """The last of the stories: the old master stays dead."""
    stack, _ = machines
    grafana = stack.url("grafana.test")
    alice, mallory = stack.log_in(grafana, "alice"), stack.browser()
    left = stack.log_in(grafana, "alice")
    # A worker lets go on whom it has seen before.
    assert [on(each, SECOND).request(grafana).status for each in (alice, left)] == [200, 200]
    left.request(stack.url(TEAM, LOGOUT), method="POST", headers=OWN_FORM, form={})
    redis.find_master().stop()

    until = time.monotonic() + 40
    while stack.try_log_in(grafana, "alice", browser := stack.browser()).status != 200:
        for machine in (FIRST, SECOND):
            assert on(alice, machine).request(grafana).status == 200, "who is in stays in"
            assert on(mallory, machine).request(grafana).status != 200
        assert time.monotonic() < until
    # Each machine finds the new master by itself.
    wait_until(lambda: on(browser, SECOND).request(grafana).status == 200, "known on the other machine")
    for machine in (FIRST, SECOND):
        wait_until(lambda m=machine: on(left, m).request(grafana).status != 200, f"out on {machine}", WITHIN_SECONDS)

    # A replica that is still finding its new master may have no acknowledgement to give yet: the logout says so.
    logout = {"method": "POST", "headers": OWN_FORM, "form": {}}
    wait_until(lambda: on(browser, SECOND).request(stack.url(TEAM, LOGOUT), **logout).status < 400, "logged out")
    wait_until(lambda: on(browser, FIRST).request(grafana).status != 200, "out, by the new master", WITHIN_SECONDS)
    assert on(alice, FIRST).request(grafana).status == 200
