"""Logging in with a code by mail in a real Chromium, which judges forms, redirects and cookies for itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.authd.pins import wrong_code
from tests.harness.smtp import MailServer
from tests.harness.stack import Stack
from tests.stories.codes import start_stack_with_codes
from tests.stories.test_in_browser import RESOLVER, SECONDS, SWITCHES, arrive

pytestmark = pytest.mark.browser
ALICE = "alice@example.com"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, MailServer]]:
    with start_stack_with_codes(tmp_path_factory.mktemp("codes")) as both:
        yield both


@pytest.fixture
def stack(running: tuple[Stack, MailServer]) -> Stack:
    return running[0]


@pytest.fixture
def mail_server(running: tuple[Stack, MailServer]) -> MailServer:
    running[1].mails.clear()
    return running[1]


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


def ask_for_code(window: BrowserContext, url: str, address: str = ALICE) -> Page:
    """A page that asks for the code, filled in by keyboard alone until there."""
    page = window.new_page()
    page.goto(url)
    page.get_by_label("E-mail address").focus()
    page.keyboard.type(address)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code from the mail")).to_be_visible()
    return page


def type_code(page: Page, code: str) -> None:
    page.get_by_label("Code from the mail").fill(code)
    page.keyboard.press("Enter")


def is_let_in(page: Page) -> bool:
    return bool(json.loads(page.inner_text("body"))["application"])


def test_somebody_logs_in_with_a_code_and_goes_back_to_no_dead_page(
    window: BrowserContext, stack: Stack, mail_server: MailServer
) -> None:
    url = stack.url("grafana.test", "/d/1?x=%26")
    page = ask_for_code(window, url)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))

    type_code(page, mail_server.find_for(ALICE).code)

    arrive(page, url)
    assert is_let_in(page)
    assert [text for text in complaints if "Content Security Policy" in text] == []
    page.go_back()
    # The page that goes on by itself has left no trace: behind it lies the one with the code, which was used.
    assert "verify-code" in page.url
    page.reload()
    page.goto(url)
    assert is_let_in(page)


def test_an_application_may_send_people_on_to_another_origin(
    window: BrowserContext, stack: Stack, mail_server: MailServer
) -> None:
    """Had the form's answer been a redirect, Chromium would stop on a blank page: `form-action` holds for them all."""
    elsewhere = stack.url("wiki.other.example", "/landed")
    page = ask_for_code(window, stack.url("grafana.test", f"/moved?{elsewhere}"))

    type_code(page, mail_server.find_for(ALICE).code)

    arrive(page, elsewhere)
    assert is_let_in(page)


def test_the_link_in_the_mail_opens_in_another_tab_and_asks_once(
    window: BrowserContext, stack: Stack, mail_server: MailServer
) -> None:
    url = stack.url("grafana.test", "/by-link")
    ask_for_code(window, url)
    page = window.new_page()

    page.goto(mail_server.find_for(ALICE).link)
    expect(page.get_by_text(f"as {ALICE}?")).to_be_visible()
    page.get_by_role("button", name="Log in").click()

    arrive(page, url)
    assert is_let_in(page)


def test_the_link_in_another_browser_logs_nobody_in(
    window: BrowserContext, chromium: Browser, stack: Stack, mail_server: MailServer
) -> None:
    asked = ask_for_code(window, stack.url("grafana.test"))
    mail = mail_server.find_for(ALICE)
    other = chromium.new_context()
    page = other.new_page()

    page.goto(mail.link)

    expect(page.get_by_role("heading", name="This browser did not ask for a code")).to_be_visible()
    assert page.locator("form, input, button").count() == 0
    assert other.cookies() == []
    other.close()
    type_code(asked, mail.code)
    arrive(asked, stack.url("grafana.test"))


def test_a_wrong_code_is_told_and_a_new_one_can_be_asked_for(
    window: BrowserContext, stack: Stack, mail_server: MailServer
) -> None:
    page = ask_for_code(window, stack.url("grafana.test"))
    first = mail_server.find_for(ALICE).code

    type_code(page, wrong_code(first))
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    mail_server.mails.clear()
    page.get_by_role("button", name="Send a new code").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    type_code(page, mail_server.find_for(ALICE).code)

    arrive(page, stack.url("grafana.test"))


def test_another_address_can_be_given(window: BrowserContext, stack: Stack, mail_server: MailServer) -> None:
    page = ask_for_code(window, stack.url("grafana.test"), "alise@example.org")

    page.get_by_role("link", name="Use another address").click()
    page.get_by_label("E-mail address").fill(ALICE)
    page.keyboard.press("Enter")
    type_code(page, mail_server.find_for(ALICE).code)

    arrive(page, stack.url("grafana.test"))


def test_a_form_of_another_site_neither_asks_for_codes_nor_logs_in(
    window: BrowserContext, stack: Stack, mail_server: MailServer
) -> None:
    page = ask_for_code(window, stack.url("grafana.test"))
    code, target = mail_server.find_for(ALICE).code, page.url
    other = window.new_page()
    other.goto("data:text/html,<title>another site</title>")
    other.evaluate(
        """([target, code]) => {
            const form = Object.assign(document.createElement("form"), {method: "post", action: target});
            form.append(Object.assign(document.createElement("input"), {name: "code", value: code}));
            document.body.append(form);
            form.submit();
        }""",
        [target, code],
    )

    expect(other.get_by_role("heading")).to_be_visible()
    assert "logged in" not in other.inner_text("h1")
    assert not [cookie for cookie in window.cookies() if cookie["name"] == "__Host-authd_team"]
    type_code(page, code)
    arrive(page, stack.url("grafana.test"))
