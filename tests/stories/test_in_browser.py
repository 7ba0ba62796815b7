"""The same stories in a real Chromium, which has ideas of its own about cookies, redirects and origins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, expect, sync_playwright

from tests.harness.raw_http import Message
from tests.harness.stack import TEAM, Stack
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.browser

SWITCHES = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --ignore-certificate-errors"
)
RESOLVER = "--host-resolver-rules=MAP *.test 127.0.0.1, MAP *.example 127.0.0.1"
SECONDS = 30_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = [*SWITCHES.split(), RESOLVER]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Browser) -> Iterator[BrowserContext]:
    """A profile without any cookie."""
    context = chromium.new_context()
    context.set_default_timeout(SECONDS)
    yield context
    context.close()


def choose_account(page: Page, account: str) -> None:
    """The provider's page."""
    page.locator(f'button[value="{account}"]').click()


def arrive(page: Page, url: str) -> None:
    """Wait for the page; fails with what is shown instead."""
    try:
        page.wait_for_url(url)
    except TimeoutError:
        pytest.fail(f"{page.url}: {page.inner_text('body')[:400]}")


def reached(stack: Stack) -> list[Message]:
    """What came to the application, without the icon that a browser asks for on its own."""
    return [request for request in stack.application.seen if request.target != "/favicon.ico"]


def seen_by_application(page: Page) -> dict[str, Any]:
    """The request that the application got for the page that is shown."""
    seen: dict[str, Any] = json.loads(page.inner_text("body"))
    return seen


def log_in(window: BrowserContext, stack: Stack, url: str, account: str = "alice") -> Page:
    page = window.new_page()
    page.goto(url)
    choose_account(page, account)
    arrive(page, url)
    return page


def test_somebody_logs_in_and_sees_the_page_that_was_asked_for(window: BrowserContext, stack: Stack) -> None:
    url = stack.url("grafana.test", "/d/1?x=%26&y=one+two&z=%C3%BC")

    page = log_in(window, stack, url)

    seen = seen_by_application(page)
    assert seen["target"] == "/d/1?x=%26&y=one+two&z=%C3%BC"
    assert dict(seen["headers"])["Cf-Access-Authenticated-User-Email"] == "alice@example.com"
    cookies = {cookie["name"]: cookie for cookie in window.cookies(url)}
    token = cookies["CF_AUTHORIZATION"]
    assert (token["httpOnly"], token["secure"], token["sameSite"], token["path"]) == (True, True, "Lax", "/")
    assert token["domain"] == "grafana.test"
    assert page.evaluate("document.cookie") == ""


def test_a_fragment_is_not_lost_on_the_way(window: BrowserContext, stack: Stack) -> None:
    page = window.new_page()
    page.goto(stack.url("grafana.test", "/x#section"))
    choose_account(page, "alice")
    page.wait_for_url("**/x*")

    assert seen_by_application(page)["target"] == "/x"
    assert page.evaluate("location.hash") == "#section"


def test_somebody_is_denied_and_comes_back_as_another(window: BrowserContext, stack: Stack) -> None:
    url = stack.url("grafana.test", "/x?y=%26")
    page = window.new_page()
    page.goto(url)
    choose_account(page, "mallory")

    expect(page.get_by_role("heading", name="No access to Grafana")).to_be_visible()
    expect(page.get_by_text("mallory@example.org")).to_be_visible()
    assert reached(stack) == []
    page.get_by_role("link", name="Use another account").click()
    choose_account(page, "alice")
    arrive(page, url)
    assert dict(seen_by_application(page)["headers"])["X-Authd-User"] == "alice@example.com"


@pytest.mark.parametrize("host", ["grafana.test", TEAM])
def test_somebody_logs_out_by_the_button_and_is_out_everywhere(window: BrowserContext, stack: Stack, host: str) -> None:
    page = log_in(window, stack, stack.url("grafana.test"))
    page.goto(stack.url("wiki.other.example"))
    assert seen_by_application(page)["application"] is True

    page.goto(stack.url(host, "/cdn-cgi/access/logout"))
    page.get_by_role("button", name=re.compile("^Log out( everywhere)?$")).click()

    expect(page.get_by_role("heading", name="You are logged out")).to_be_visible()

    visited: list[str] = []
    page.on("request", lambda request: visited.append(request.url))

    def is_asked_again() -> bool:
        """The provider knows its own session still, and shows no page."""
        page.goto(stack.url("wiki.other.example"))
        return any(url.startswith(stack.provider.issuer) for url in visited)

    wait_until(is_asked_again, "the other host asks for a login")


def test_one_login_serves_two_unrelated_domains(window: BrowserContext, stack: Stack) -> None:
    page = log_in(window, stack, stack.url("grafana.test"))
    visited: list[str] = []
    page.on("request", lambda request: visited.append(request.url))

    page.goto(stack.url("wiki.other.example", "/page"))

    assert seen_by_application(page)["target"] == "/page"
    assert not [url for url in visited if url.startswith(stack.provider.issuer)]


@pytest.mark.parametrize("hosts", [["grafana.test"], ["grafana.test", "wiki.other.example"]], ids=["one", "two"])
def test_five_tabs_that_wait_at_the_provider_all_arrive(window: BrowserContext, stack: Stack, hosts: list[str]) -> None:
    urls = [stack.url(hosts[n % len(hosts)], f"/tab/{n}?x=%26") for n in range(5)]
    tabs = [window.new_page() for _ in urls]
    for tab, url in zip(tabs, urls, strict=True):
        tab.goto(url)

    for tab in reversed(tabs):
        choose_account(tab, "alice")

    for tab, url in zip(tabs, urls, strict=True):
        arrive(tab, url)
        assert seen_by_application(tab)["target"] == url.partition(f":{stack.port}")[2]


def test_five_tabs_that_are_restored_at_once_all_arrive(window: BrowserContext, stack: Stack) -> None:
    """All five leave without a cookie and get five names for one browser, of which it keeps the last."""
    urls = [stack.url("grafana.test", f"/restored/{n}") for n in range(5)]
    tabs = [window.new_page() for _ in urls]
    for tab, url in zip(tabs, urls, strict=True):
        tab.evaluate("url => { location.href = url }", url)
    for tab in tabs:
        tab.wait_for_url(f"{stack.provider.issuer}/**")

    for tab in tabs:
        choose_account(tab, "alice")

    for tab, url in zip(tabs, urls, strict=True):
        arrive(tab, url)


def test_a_page_whose_session_ended_can_read_where_to_log_in(window: BrowserContext, stack: Stack) -> None:
    page = log_in(window, stack, stack.url("grafana.test"))
    window.clear_cookies(name="CF_AUTHORIZATION")

    answer = page.evaluate(
        """async () => {
            const response = await fetch("/api/data?x=%26");
            return {status: response.status, redirected: response.redirected, body: await response.json()};
        }"""
    )

    assert (answer["status"], answer["redirected"]) == (401, False)
    assert answer["body"]["error"] == "login_required"
    page.goto(answer["body"]["login_url"])
    assert seen_by_application(page)["application"] is True


def test_a_websocket_is_refused_without_a_session_and_opened_with_one(window: BrowserContext, stack: Stack) -> None:
    script = """(url) => new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve("open");
        socket.onerror = () => resolve("refused");
    })"""
    page = log_in(window, stack, stack.url("grafana.test"))
    address = stack.url("grafana.test", "/live").replace("https:", "wss:")
    stack.application.seen.clear()

    assert page.evaluate(script, address) in ("open", "refused")  # the application's handshake is no real one
    assert [request.get("Upgrade") for request in reached(stack)] == ["websocket"]
    window.clear_cookies(name="CF_AUTHORIZATION")
    assert page.evaluate(script, address) == "refused"
    assert len(reached(stack)) == 1


def test_a_form_that_is_sent_without_a_session_says_so(window: BrowserContext, stack: Stack) -> None:
    page = log_in(window, stack, stack.url("grafana.test", "/form"))
    window.clear_cookies()
    stack.application.seen.clear()
    page.evaluate(
        """() => {
            document.body.innerHTML = '<form method="post" action="/save?id=7"><input name="a" value="typed"></form>';
            document.forms[0].submit();
        }"""
    )

    expect(page.get_by_role("heading", name="Log in to Grafana first")).to_be_visible()
    assert reached(stack) == []
    page.get_by_role("link", name="Log in").click()
    choose_account(page, "alice")
    arrive(page, stack.url("grafana.test", "/save?id=7"))
    seen = seen_by_application(page)
    assert (seen["method"], seen["body"]) == ("GET", "")


def test_back_after_the_login_leads_to_no_dead_page(window: BrowserContext, stack: Stack) -> None:
    page = window.new_page()
    page.goto("about:blank")
    page.goto(stack.url("grafana.test", "/first"))
    choose_account(page, "alice")
    arrive(page, stack.url("grafana.test", "/first"))
    page.goto(stack.url("grafana.test", "/second"))

    page.go_back()

    assert seen_by_application(page)["target"] == "/first"


def test_back_to_the_provider_after_the_login_can_be_gone_through_again(window: BrowserContext, stack: Stack) -> None:
    page = window.new_page()
    page.goto(stack.url("grafana.test", "/x"))
    at_provider = page.url
    choose_account(page, "alice")
    arrive(page, stack.url("grafana.test", "/x"))

    page.go_back()

    if page.url == at_provider:
        # What it shows is the provider's: its form was used, or leads to an attempt that was.
        assert "Demonstration provider" in page.inner_text("body")
    page.goto(stack.url("grafana.test", "/x"))
    assert seen_by_application(page)["target"] == "/x"


def test_loading_the_address_of_the_hand_over_again_leads_back_to_the_page(
    window: BrowserContext, stack: Stack
) -> None:
    addresses: list[str] = []
    window.on("request", lambda request: addresses.append(request.url))
    url = stack.url("grafana.test", "/x?y=%26")
    page = log_in(window, stack, url)
    (authorized,) = [address for address in addresses if "/access/authorized?" in address]

    page.goto(authorized)

    expect(page.get_by_role("heading", name="The login could not be finished")).to_be_visible()
    page.get_by_role("link", name="Start again").click()
    arrive(page, url)
    assert seen_by_application(page)["application"] is True


def test_whoever_cancels_at_the_provider_may_start_again(window: BrowserContext, stack: Stack) -> None:
    page = window.new_page()
    page.goto(stack.url("grafana.test", "/x"))
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("perhaps you cancelled")).to_be_visible()
    page.get_by_role("link", name="Start again").click()
    choose_account(page, "alice")
    arrive(page, stack.url("grafana.test", "/x"))


def test_an_image_of_another_site_logs_nobody_out(window: BrowserContext, stack: Stack) -> None:
    page = log_in(window, stack, stack.url("grafana.test"))
    other = window.new_page()
    other.goto(stack.url("open.test"))
    logout = stack.url("grafana.test", "/cdn-cgi/access/logout")

    other.evaluate(
        """async (url) => {
            const image = new Image();
            await new Promise((done) => { image.onload = image.onerror = done; image.src = url; });
            await fetch(url, {method: "POST", mode: "no-cors", credentials: "include"}).catch(() => {});
        }""",
        logout,
    )

    page.reload()
    assert seen_by_application(page)["application"] is True
