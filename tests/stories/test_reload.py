"""A changed configuration, two workers: in force within two seconds, and a bad file changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import Browser
from tests.harness.stack import Stack, find_children, start_stack
from tests.stories.waiting import wait_until

WORKERS = 2
WITHIN_SECONDS = 2.0
ALLOWED = [{"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}]
LISTED = [{"name": "Listed", "decision": "allow", "include": [{"email_list": "listed"}]}]
REFUSED = [{"name": "Nobody from here", "decision": "deny", "include": [{"email_domain": "example.com"}]}, *ALLOWED]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("reload")
    (directory / "listed.txt").write_text("alice@example.com\n")
    settings = {
        "workers": WORKERS,
        "lists": [{"name": "listed", "type": "email", "file": "listed.txt"}],
        "applications": applications(ALLOWED, ALLOWED),
    }
    with start_stack(directory, settings=settings) as running:
        yield running


def applications(grafana: list[dict[str, Any]], wiki: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": "grafana", "name": "Grafana", "domains": ["grafana.test"], "policies": grafana},
        {"id": "wiki", "name": "Wiki", "domains": ["wiki.other.example"], "policies": wiki},
    ]


@pytest.fixture
def alice(stack: Stack) -> Browser:
    """Logged in under a policy that admits her."""
    reload_with(stack, applications=applications(ALLOWED, ALLOWED))
    browser = stack.log_in(stack.url("grafana.test"), "alice")
    stack.application.seen.clear()
    return browser


def reload_with(stack: Stack, **changes: Any) -> None:
    """Write the changes, send SIGHUP, and wait until the master has taken the file and both workers have it."""
    accepted, loaded = (len(stack.events(name)) for name in ("config.accepted", "config.loaded"))
    stack.write_config(**changes)
    stack.reload()
    wait_until(lambda: len(stack.events("config.accepted")) > accepted, "the file is accepted")
    wait_until(lambda: len(stack.events("config.loaded")) >= loaded + WORKERS, "both workers have it")


def reload_refused(stack: Stack) -> dict[str, Any]:
    """Send SIGHUP for a file that is bad; the log line about it."""
    refused = len(stack.events("config.refused"))
    stack.reload()
    wait_until(lambda: len(stack.events("config.refused")) > refused, "the file is refused")
    return stack.events("config.refused")[-1]


def status(browser: Browser, stack: Stack) -> int:
    return browser.request(stack.url("grafana.test")).status


def find_workers(stack: Stack) -> set[int]:
    assert stack.authd is not None
    return set(find_children(stack.authd.pid))


def kill_every_worker(stack: Stack) -> None:
    """One after the other, each replaced before the next: what runs then was started after the last reload."""
    for worker in find_workers(stack):
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda gone=worker: gone not in find_workers(stack), "the worker is gone")  # type: ignore[misc]
        wait_until(lambda: len(find_workers(stack)) == WORKERS, "another worker is there")
    wait_until(lambda: stack.ask_authd("/readyz") == 200, "authd is ready")


def test_a_changed_policy_is_in_force_within_two_seconds(stack: Stack, alice: Browser) -> None:
    assert status(alice, stack) == 200
    stack.write_config(applications=applications(REFUSED, ALLOWED))

    stack.reload()

    took = wait_until(lambda: status(alice, stack) == 403, "Alice is refused")
    assert took <= WITHIN_SECONDS
    stack.application.seen.clear()
    assert [status(alice, stack) for _ in range(20)] == [403] * 20
    assert stack.application.count == 0


def test_somebody_whom_a_reload_shut_out_is_told_by_whom(stack: Stack, alice: Browser) -> None:
    reload_with(stack, applications=applications(REFUSED, ALLOWED))
    wait_until(lambda: status(alice, stack) == 403, "Alice is refused")

    answer = alice.request(stack.url("grafana.test", "/x"))
    outline = PageOutline(answer.text)

    assert "A policy of this application refuses your account." in outline.get_text("main")
    assert "alice@example.com" in outline.get_text("main")
    reference = outline.get_text("code")
    (line,) = [line for line in stack.events("access.decision") if line["request_id"] == reference]
    assert (line["outcome"], line["reason"], line["policy"]) == ("deny", "policy_deny", "Nobody from here")
    script = alice.request(stack.url("grafana.test"), headers=[("Sec-Fetch-Mode", "cors")])
    assert (script.status, script.json()["error"], script.get("Location")) == (403, "denied", "")


def test_a_bad_file_changes_nothing_and_every_mistake_is_logged(stack: Stack, alice: Browser) -> None:
    good = (stack.directory / "authd.yml").read_text()
    bad = good.replace("decision: allow", "decision: alow").replace("workers: 2", "workers: 2\nwrokers: 3")
    (stack.directory / "authd.yml").write_text(bad)

    line = reload_refused(stack)

    assert len(line["mistakes"]) == 3
    assert sum(".decision: " in mistake for mistake in line["mistakes"]) == 2
    assert any("wrokers" in mistake and "workers" in mistake for mistake in line["mistakes"])
    assert all(mistake.startswith("line ") for mistake in line["mistakes"])
    assert "authd_config_last_reload_successful 0" in stack.fetch_authd("/metrics")[1].decode()
    kill_every_worker(stack)
    assert {status(alice, stack) for _ in range(20)} == {200}
    (stack.directory / "authd.yml").write_text(good)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"applications: [", b"[]\n", b"team_domain: &a [*a]\n"])
def test_a_file_that_is_none_changes_nothing(stack: Stack, alice: Browser, content: bytes) -> None:
    path = stack.directory / "authd.yml"
    good = path.read_bytes()
    path.write_bytes(content)

    reload_refused(stack)

    assert {status(alice, stack) for _ in range(5)} == {200}
    path.write_bytes(good)


def test_a_missing_file_changes_nothing(stack: Stack, alice: Browser) -> None:
    path = stack.directory / "authd.yml"
    path.rename(path.with_suffix(".away"))

    reload_refused(stack)

    kill_every_worker(stack)
    assert {status(alice, stack) for _ in range(10)} == {200}
    path.with_suffix(".away").rename(path)


def test_a_missing_client_secret_changes_nothing(stack: Stack, alice: Browser) -> None:
    secret = stack.directory / "corp.secret"
    secret.rename(secret.with_suffix(".away"))
    stack.write_config(applications=applications(REFUSED, ALLOWED))

    line = reload_refused(stack)

    assert "corp.secret" in line["message"]
    kill_every_worker(stack)
    assert {status(alice, stack) for _ in range(10)} == {200}
    secret.with_suffix(".away").rename(secret)


def test_a_list_whose_file_went_bad_afterwards_changes_nothing_for_workers_to_come(
    stack: Stack, alice: Browser
) -> None:
    reload_with(stack, applications=applications(LISTED, ALLOWED))
    listed = stack.directory / "listed.txt"
    listed.write_text("this is no address\n")

    kill_every_worker(stack)

    assert {status(alice, stack) for _ in range(20)} == {200}
    listed.write_text("alice@example.com\n")


def test_a_client_secret_that_was_replaced_counts_after_a_reload(stack: Stack, alice: Browser) -> None:
    secret = stack.directory / "corp.secret"
    good = secret.read_text()
    secret.write_text("not the secret that the provider knows\n")
    reload_with(stack)
    assert stack.try_log_in(stack.url("grafana.test"), "alice", stack.browser()).status in (400, 503)

    secret.write_text(good)
    reload_with(stack)

    stack.log_in(stack.url("grafana.test"), "alice")


def test_what_only_a_restart_can_change_is_named_and_the_rest_is_taken(stack: Stack, alice: Browser) -> None:
    reload_with(stack, workers=3, decision_cache_seconds=2, applications=applications(REFUSED, ALLOWED))

    assert {line["key"] for line in stack.events("config.needs_restart")} == {"workers", "decision_cache_seconds"}
    wait_until(lambda: status(alice, stack) == 403, "Alice is refused")
    assert len(find_workers(stack)) == WORKERS
    stack.write_config(workers=WORKERS, decision_cache_seconds=1)


def test_a_worker_that_is_killed_logs_nobody_out(stack: Stack, alice: Browser) -> None:
    kill_every_worker(stack)

    assert {status(alice, stack) for _ in range(20)} == {200}


def ask_workers(stack: Stack, browser: Browser) -> set[int]:
    """What the workers say about a browser's token, asked so often that both answer."""
    return {stack.ask_check(browser, "grafana.test", "grafana") for _ in range(20)}


def take_away(stack: Stack, what: str) -> None:
    """A configuration in which Alice may not pass any more."""
    provider, *_ = stack.config["identity_providers"]
    _, wiki = applications(ALLOWED, ALLOWED)
    stack.write_config(
        **{
            "policy": {"applications": applications(REFUSED, ALLOWED)},
            "application": {"applications": [wiki]},
            # Another entry of the same provider: its people are no longer the ones who logged in.
            "provider": {"identity_providers": [provider | {"id": "another", "name": "Another login"}]},
        }[what]
    )


@pytest.mark.parametrize(
    ("what", "refusal", "reason"),
    [
        ("policy", 403, "policy_deny"),
        ("application", 403, "application_unknown"),
        ("provider", 401, "provider_not_allowed"),
    ],
)
def test_what_a_reload_takes_away_is_gone_within_two_seconds_on_every_worker_and_from_nginx_cache(
    stack: Stack, alice: Browser, what: str, refusal: int, reason: str
) -> None:
    """Asked again and again, so that nginx has the old answer in its cache all the time."""
    before, logged = stack.config, len(stack.events("access.decision"))
    script = [("Accept", "application/json"), ("Sec-Fetch-Mode", "cors")]
    url = stack.url("grafana.test", f"/{what}")
    assert {alice.request(url, headers=script).status for _ in range(20)} == {200}
    assert ask_workers(stack, alice) == {200}
    take_away(stack, what)

    stack.reload()

    took = wait_until(lambda: alice.request(url, headers=script).status == refusal, "Alice is refused")
    assert took <= WITHIN_SECONDS
    wait_until(lambda: ask_workers(stack, alice) == {refusal}, "on both workers", WITHIN_SECONDS)
    stack.application.seen.clear()
    assert {alice.request(url, headers=script).status for _ in range(20)} == {refusal}
    assert stack.application.count == 0
    refusals = [line for line in stack.events("access.decision")[logged:] if line["outcome"] != "allow"]
    assert {line["reason"] for line in refusals} == {reason}
    reload_with(stack, **before)
    wait_until(lambda: ask_workers(stack, alice) == {200}, "in again: nothing has logged her out")


def test_a_logout_counts_in_the_other_worker_too(stack: Stack, alice: Browser) -> None:
    assert ask_workers(stack, alice) == {200}

    logout = stack.url("wiki.other.example", "/cdn-cgi/access/logout")
    alice.cookies["wiki.other.example"] = {}
    assert alice.visit(stack.url("wiki.other.example")).status == 200
    alice.request(logout, method="POST", headers=[("Sec-Fetch-Site", "same-origin")])

    took = wait_until(lambda: ask_workers(stack, alice) == {401}, "out in both workers")
    assert took <= WITHIN_SECONDS


def test_metrics_are_summed_over_the_workers(stack: Stack, alice: Browser) -> None:
    def count() -> float:
        lines = stack.fetch_authd("/metrics")[1].decode().splitlines()
        name = 'authd_decisions_total{app="wiki",outcome="login",reason="no_credential"}'
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    before = count()
    for _ in range(20):
        assert stack.browser().request(stack.url("wiki.other.example")).status == 302

    wait_until(lambda: count() - before >= 20, "twenty decisions are counted")
    assert count() - before == 20
