"""People who log in with GitHub, through the whole of it. GitHub is a server that answers as its documents say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.authd.idp.github_server import CLIENT_ID, CLIENT_SECRET, GithubServer, running_github
from tests.harness.browser import Answer, Browser
from tests.harness.stack import Stack, start_stack
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
# What can be set is a minute at least; beyond it, nginx' cache, the poll and a busy machine.
REFRESHED_WITHIN_SECONDS = 90.0


def admit(**organisation: str) -> list[dict[str, Any]]:
    rule = {"github-organization": {**organisation, "identity_provider_id": "hub"}}
    return [{"name": "Ours", "decision": "allow", "include": [rule]}]


APPLICATIONS = [
    {"id": "core", "domains": ["core.test"], "policies": admit(name="Octo-Org", team="Core")},
    {"id": "all", "domains": ["all.test"], "policies": admit(name="octo-org")},
    {"id": "rivals", "domains": ["rivals.test"], "policies": admit(name="rivals")},
]


@pytest.fixture(scope="module")
def github() -> Iterator[GithubServer]:
    with running_github() as started:
        yield started


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, github: GithubServer) -> Iterator[Stack]:
    entry = {"id": "hub", "type": "github", "name": "GitHub", "client_id": CLIENT_ID, "base_url": github.url}
    entry |= {"client_secret_env": "AUTHD_TEST_GITHUB_SECRET", "identity_refresh": "1m"}
    os.environ["AUTHD_TEST_GITHUB_SECRET"] = CLIENT_SECRET
    settings = {"identity_providers": [entry], "workers": 2}
    with start_stack(tmp_path_factory.mktemp("github"), applications=APPLICATIONS, settings=settings) as started:
        yield started
    del os.environ["AUTHD_TEST_GITHUB_SECRET"]


def log_in(stack: Stack, github: GithubServer, host: str) -> tuple[Browser, Answer]:
    """As whoever was added last, and what the application's host says in the end."""
    browser = stack.browser()
    answer = browser.visit(stack.url(host, "/builds?x=y"))
    assert answer.location.startswith(f"{github.url}/login/oauth/authorize?")
    callback = requests.get(answer.location, allow_redirects=False, timeout=10).headers["Location"]
    return browser, browser.visit(callback)


def status(stack: Stack, browser: Browser, host: str) -> int:
    """Once more through whatever redirects there are."""
    return browser.visit(stack.url(host)).status


def test_a_team_gets_in_and_nobody_else_does(stack: Stack, github: GithubServer) -> None:
    github.add_person("mona", 1, organisations=["Octo-Org"], teams=["Octo-Org/core"])
    browser, page = log_in(stack, github, "core.test")
    assert page.status == 200
    assert page.json()["target"] == "/builds?x=y"
    headers = dict(page.json()["headers"])
    assert headers["Cf-Access-Authenticated-User-Email"] == "mona@example.com"
    assert headers["X-Authd-Groups"] == "octo-org,octo-org/core"
    assert [status(stack, browser, host) for host in ("all.test", "rivals.test")] == [200, 403]

    github.add_person("olaf", 2, organisations=["Octo-Org"], teams=["Octo-Org/docs"])
    browser, page = log_in(stack, github, "core.test")
    assert page.status == 403
    assert [status(stack, browser, host) for host in ("all.test", "core.test")] == [200, 403]

    # A team of that name in another organisation is another team.
    github.add_person("rita", 3, organisations=["rivals"], teams=["rivals/core"])
    browser, page = log_in(stack, github, "core.test")
    assert page.status == 403
    assert [status(stack, browser, host) for host in ("rivals.test", "all.test", "core.test")] == [200, 403, 403]


def test_who_is_suspended_is_told_so(stack: Stack, github: GithubServer) -> None:
    github.suspended.add(github.add_person("sven", 4, organisations=["Octo-Org"], teams=["Octo-Org/core"]))

    browser, page = log_in(stack, github, "core.test")

    assert page.status == 400
    assert "GitHub says that your account is suspended." in page.text
    assert stack.events("login.failed")[-1]["reason"] == "suspended"
    assert browser.visit(stack.url("core.test")).location.startswith(github.url), "and is not logged in"


def test_who_has_left_or_is_suspended_is_out_at_the_next_refresh(stack: Stack, github: GithubServer) -> None:
    browsers: dict[str, Browser] = {}
    tokens: dict[str, str] = {}
    for number, login in enumerate(("stays", "leaves", "suspended", "revoked"), start=10):
        tokens[login] = github.add_person(login, number, organisations=["Octo-Org"], teams=["Octo-Org/core"])
        browsers[login], page = log_in(stack, github, "core.test")
        assert page.status == 200

    github.people[tokens["leaves"]] |= {"user/orgs": [], "user/teams": []}
    github.suspended.add(tokens["suspended"])
    del github.people[tokens["revoked"]]

    def statuses() -> dict[str, int]:
        return {login: browser.request(stack.url("core.test")).status for login, browser in browsers.items()}

    expected = {"stays": 200, "leaves": 403, "suspended": 302, "revoked": 302}
    wait_until(lambda: statuses() == expected, str(expected), REFRESHED_WITHIN_SECONDS)
    assert browsers["suspended"].visit(stack.url("core.test")).location.startswith(github.url), "no session is left"
    reasons = [event["message"] for event in stack.events("session.ended") if event["reason"] == "provider"]
    assert len(reasons) == 2
    assert all(token not in stack.log_text for token in tokens.values())
