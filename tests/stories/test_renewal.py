"""A page that goes on asking in the background never meets the login, through the real nginx and in Chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import sync_playwright

from tests.harness.browser import Browser
from tests.harness.stack import Stack, start_stack
from tests.stories.installation import EVERYONE
from tests.stories.test_in_browser import RESOLVER, SWITCHES, arrive, choose_account
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
COOKIE = "CF_AUTHORIZATION"
TOKEN_SECONDS = 6
# What a script's fetch looks like to nginx.
FETCH = (("Accept", "application/json"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"))
LOCATION = """location / {
    set $authd_app headers;
    include authd/authd-protect.conf;
    include authd/authd-identity.conf;
    %s
    add_header X-Operator yes;
    proxy_pass {app};
}"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    names = ("page", "headers", "forgot")
    applications = [
        {"id": name, "domains": [f"{name}.test"], "session_duration": f"{TOKEN_SECONDS}s", "policies": EVERYONE}
        for name in names
    ]
    locations = {
        "headers.test": LOCATION % "include authd/authd-renew.conf;",
        "forgot.test": LOCATION.replace("headers;", "forgot;") % "",
    }
    with start_stack(
        tmp_path_factory.mktemp("renewal"), applications=applications, locations=locations, settings={"workers": 2}
    ) as started:
        yield started


@pytest.mark.parametrize("host", ["page.test", "headers.test"])
def test_a_page_that_asks_now_and_then_is_never_refused(stack: Stack, host: str) -> None:
    alice = stack.log_in(stack.url(host), "alice")
    tokens, until = {alice.cookies[host][COOKIE]}, time.monotonic() + 3 * TOKEN_SECONDS
    while time.monotonic() < until:
        answer = alice.request(stack.url(host), headers=FETCH)
        assert answer.status == 200
        for cookie in answer.get_all("Set-Cookie"):
            assert cookie.startswith(f"{COOKIE}=eyJ")
            assert cookie.endswith("; Secure; HttpOnly; SameSite=Lax")
            assert "private" in answer.get_all("Cache-Control"), "no shared cache may keep it"
            # The application sees the token that the browser has from now on.
            shown = dict(answer.json()["headers"])["Cf-Access-Jwt-Assertion"]
            assert cookie.startswith(f"{COOKIE}={shown};")
        tokens.add(alice.cookies[host][COOKIE])
        time.sleep(0.4)
    assert len(tokens) >= 3
    if host == "headers.test":
        assert answer.get("X-Operator") == "yes"


def test_without_the_include_beside_headers_of_ones_own_the_page_goes_through_the_team_host(stack: Stack) -> None:
    alice = stack.log_in(stack.url("forgot.test"), "alice")
    statuses = set()
    until = time.monotonic() + TOKEN_SECONDS + 1
    while time.monotonic() < until:
        statuses.add(alice.request(stack.url("forgot.test"), headers=FETCH).status)
        time.sleep(0.3)
    assert statuses == {200, 401}
    assert alice.visit(stack.url("forgot.test")).status == 200


def test_a_renewal_does_not_bring_back_a_session_that_was_ended(stack: Stack) -> None:
    alice = stack.log_in(stack.url("page.test"), "alice")
    stolen = Browser(stack.port, {host: dict(cookies) for host, cookies in alice.cookies.items()})

    def work() -> int:
        return stolen.request(stack.url("page.test"), headers=FETCH).status

    wait_until(lambda: work() == 200 and stolen.cookies["page.test"] != alice.cookies["page.test"], "renewed")
    own = (*FETCH, ("Sec-Fetch-Site", "same-origin"))
    assert alice.request(stack.url("page.test", "/cdn-cgi/access/logout"), headers=own).status == 200
    wait_until(lambda: work() == 401, "out", 2.5)
    for _ in range(5):
        assert work() == 401


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*SWITCHES.split(), RESOLVER])
        yield browser
        browser.close()


@pytest.mark.browser
def test_a_single_page_application_in_chromium_has_no_failed_request(stack: Stack, chromium: Chromium) -> None:
    window = chromium.new_context()
    page = window.new_page()
    page.goto(stack.url("page.test"))
    choose_account(page, "alice")
    arrive(page, stack.url("page.test"))

    statuses = page.evaluate(
        """async (seconds) => {
            const found = [];
            const until = Date.now() + seconds * 1000;
            while (Date.now() < until) {
                try { found.push((await fetch("/data", {cache: "no-store"})).status); }
                catch (error) { found.push(String(error)); }
                await new Promise((resolve) => setTimeout(resolve, 500));
            }
            return found;
        }""",
        3 * TOKEN_SECONDS,
    )

    assert set(statuses) == {200}
    assert len(statuses) > 20
    window.close()
