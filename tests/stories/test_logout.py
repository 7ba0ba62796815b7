"""Logging out: asked before it is done, in force everywhere within two seconds; and how to come back as another."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import NAVIGATION, Browser
from tests.harness.stack import TEAM, Stack
from tests.stories.waiting import wait_until

LOGOUT = "/cdn-cgi/access/logout"
OWN_FORM = (*NAVIGATION[:3], ("Sec-Fetch-Site", "same-origin"))
FOREIGN = (*NAVIGATION[:3], ("Sec-Fetch-Site", "cross-site"))
# The promise of design 2; the machine that runs the tests may be slow to ask.
WITHIN_SECONDS = 2.0
HOSTS = ["grafana.test", "wiki.other.example", "shared.test"]


@pytest.fixture
def browser(stack: Stack) -> Browser:
    """A session of its own, used on three hosts: the story ends it."""
    browser = stack.log_in(stack.url(HOSTS[0]), "alice")
    for host in HOSTS[1:]:
        assert browser.visit(stack.url(host)).status == 200
    return browser


def is_in(stack: Stack, browser: Browser, host: str) -> bool:
    return browser.request(stack.url(host)).status == 200


@pytest.mark.parametrize("host", ["grafana.test", TEAM])
def test_a_link_to_the_logout_only_asks(stack: Stack, browser: Browser, host: str) -> None:
    for headers in (NAVIGATION, FOREIGN, [("Accept", "image/*"), ("Sec-Fetch-Site", "cross-site")], []):
        answer = browser.request(stack.url(host, LOGOUT), headers=headers)
        outline = PageOutline(answer.text)

        assert answer.status == 200
        assert outline.get_text("h1") == "Log out?"
        assert "alice@example.com" in outline.get_text("main")
        assert outline.get("form") == {"method": "post", "action": LOGOUT}
        assert answer.get_all("Set-Cookie") == []
    assert all(is_in(stack, browser, host) for host in HOSTS)


@pytest.mark.parametrize("host", ["grafana.test", TEAM])
def test_a_form_of_another_site_only_asks_too(stack: Stack, browser: Browser, host: str) -> None:
    for site in ("cross-site", "same-site", "none"):
        headers = (*NAVIGATION[:3], ("Sec-Fetch-Site", site))
        answer = browser.request(stack.url(host, LOGOUT), method="POST", headers=headers, form={})

        assert PageOutline(answer.text).get_text("h1") == "Log out?"
        assert answer.get_all("Set-Cookie") == []
    assert all(is_in(stack, browser, host) for host in HOSTS)


@pytest.mark.parametrize("host", ["grafana.test", TEAM])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_session_ends_on_every_host_within_two_seconds(
    stack: Stack, browser: Browser, host: str, method: str
) -> None:
    copy = Browser(stack.port, {name: dict(jar) for name, jar in browser.cookies.items()})
    assert all(is_in(stack, copy, name) for name in HOSTS)

    answer = browser.request(stack.url(host, LOGOUT), method=method, headers=OWN_FORM)

    assert PageOutline(answer.text).get_text("h1") == "You are logged out"
    # Asked all the time, so that nginx' cache is as warm as it can be.
    took = wait_until(lambda: {is_in(stack, copy, name) for name in HOSTS} == {False}, "logged out everywhere")
    assert took <= WITHIN_SECONDS
    assert copy.request(stack.url("grafana.test", "/cdn-cgi/access/get-identity")).status == 401
    assert copy.request(stack.url(TEAM, "/cdn-cgi/access/get-identity")).status == 401


def test_after_the_logout_the_provider_is_asked_again(stack: Stack, browser: Browser) -> None:
    browser.request(stack.url("wiki.other.example", LOGOUT), method="POST", headers=OWN_FORM)
    wait_until(lambda: not is_in(stack, browser, "grafana.test"), "logged out of Grafana")

    assert browser.visit(stack.url("grafana.test")).location.startswith(stack.provider.issuer)
    (line,) = [line for line in stack.events("session.ended") if line.get("host") == "wiki.other.example"][-1:]
    assert (line["reason"], line["email"]) == ("logout", "alice@example.com")


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", '"quoted"', "%00\\"])
def test_cookies_that_nobody_can_read_are_removed_as_well(stack: Stack, token: str) -> None:
    ours = ["CF_AUTHORIZATION", "CF_Authorization", "cf_authorization_0a1b2c3d", "__Host-CF_AppSession"]
    jar = dict.fromkeys(ours, token) | {"theirs": "kept", "xCF_AUTHORIZATION": "kept"}
    browser = Browser(stack.port, {"grafana.test": jar})

    answer = browser.request(stack.url("grafana.test", LOGOUT), method="POST", headers=OWN_FORM)

    assert answer.status == 200
    assert browser.cookies["grafana.test"] == {"theirs": "kept", "xCF_AUTHORIZATION": "kept"}
    for line in answer.get_all("Set-Cookie"):
        assert "Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly" in line


def test_the_cookies_of_both_hosts_are_removed(stack: Stack, browser: Browser) -> None:
    browser.request(stack.url("grafana.test", LOGOUT), method="POST", headers=OWN_FORM)
    browser.request(stack.url(TEAM, LOGOUT), method="POST", headers=OWN_FORM)

    assert browser.cookies["grafana.test"] == {}
    assert browser.cookies[TEAM] == {}


def test_logging_out_twice_or_as_nobody_is_no_error(stack: Stack) -> None:
    for host in ("grafana.test", TEAM):
        for _ in range(2):
            answer = stack.browser().request(stack.url(host, LOGOUT), method="POST", headers=OWN_FORM)
            assert PageOutline(answer.text).get_text("h1") == "You are logged out"


def test_another_account_is_asked_for_at_the_provider_and_replaces_the_first(stack: Stack, browser: Browser) -> None:
    copy = Browser(stack.port, {name: dict(jar) for name, jar in browser.cookies.items()})
    switch = "/cdn-cgi/access/login?prompt=select_account&redirect_url=%2Fx%3Fy%3D%2526"

    answer = browser.visit(stack.url("wiki.other.example", switch))

    assert answer.location.startswith(stack.provider.issuer)
    assert parse_qs(urlsplit(answer.location).query)["prompt"] == ["select_account"]
    page = browser.visit(stack.provider.log_in(answer.location, "mallory"))
    assert (page.status, page.json()["target"]) == (200, "/x?y=%26")
    assert dict(page.json()["headers"])["X-Authd-User"] == "mallory@example.org"
    # One browser, one person: the session that was replaced has ended wherever it was used.
    wait_until(lambda: not is_in(stack, copy, "grafana.test"), "the first account is out")


def test_a_link_cannot_ask_the_provider_for_anything_else(stack: Stack, browser: Browser) -> None:
    for prompt in ("none", "login", "select_account&prompt=none", "consent"):
        answer = browser.visit(stack.url("wiki.other.example", f"/cdn-cgi/access/login?prompt={prompt}"))

        assert answer.status == 200
        assert answer.url == stack.url("wiki.other.example", "/")
