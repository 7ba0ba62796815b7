"""Refused: the page says which account, which application and why, and gives a reference that is in the log."""

from __future__ import annotations

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import Answer, Browser
from tests.harness.stack import Stack
from tests.stories.test_request_kinds import FETCH, WEBSOCKET


def deny(stack: Stack, host: str, account: str, path: str = "/x?y=%26") -> tuple[Browser, Answer]:
    browser = stack.browser()
    answer = stack.try_log_in(stack.url(host, path), account, browser)
    assert answer.status == 403
    assert stack.application.count == 0
    return browser, answer


def switch_url(stack: Stack, host: str) -> str:
    path = "/cdn-cgi/access/login?prompt=select_account&redirect_url=%2Fx%3Fy%3D%2526"
    return stack.url(host, path)


@pytest.mark.parametrize(
    ("host", "name", "account", "address", "sentence"),
    [
        ("grafana.test", "Grafana", "mallory", "mallory@example.org", "No policy of this application admits"),
        ("vault.test", "Vault", "alice", "alice@example.com", "A policy of this application refuses"),
    ],
)
def test_the_page_names_account_application_and_reason(
    stack: Stack, host: str, name: str, account: str, address: str, sentence: str
) -> None:
    _, answer = deny(stack, host, account)
    outline = PageOutline(answer.text)

    assert outline.get_text("h1") == f"No access to {name}"
    text = outline.get_text("main")
    assert sentence in text
    assert address in text
    assert host in text
    assert [link["href"] for link in outline.all("a")] == [switch_url(stack, host)]
    assert outline.get("form") == {"method": "post", "action": "/cdn-cgi/access/logout"}
    assert answer.get("Cache-Control") == "no-store"


def test_the_operators_own_sentence_stands_on_the_page(stack: Stack) -> None:
    _, answer = deny(stack, "vault.test", "alice")

    assert "Ask Vera in room 12." in PageOutline(answer.text).get_text("main")


def test_the_reference_of_the_page_is_in_the_log(stack: Stack) -> None:
    browser, after_login = deny(stack, "grafana.test", "mallory")
    with_a_session = browser.visit(stack.url("grafana.test"))

    for answer in (after_login, with_a_session):
        reference = PageOutline(answer.text).get_text("code")
        (line,) = [line for line in stack.events("login.denied") if line["request_id"] == reference]
        assert (line["app"], line["host"], line["idp"]) == ("grafana", "grafana.test", "corp")
        assert line["email"] == "mallory@example.org"
        assert line["reason"] == "no_policy_matched"


def test_the_log_names_the_policy_that_refused(stack: Stack) -> None:
    _, answer = deny(stack, "vault.test", "alice")
    reference = PageOutline(answer.text).get_text("code")

    (line,) = [line for line in stack.events("login.denied") if line["request_id"] == reference]
    assert (line["reason"], line["policy"]) == ("policy_deny", "Never Alice")
    assert "alice@example.com" in line["rule"]


def test_use_another_account_leads_in(stack: Stack) -> None:
    browser, answer = deny(stack, "grafana.test", "mallory")
    link = PageOutline(answer.text).get("a")["href"]

    at_provider = browser.visit(str(link))

    assert "prompt=select_account" in at_provider.location
    page = browser.visit(stack.provider.log_in(at_provider.location, "alice"))
    assert (page.status, page.json()["target"]) == (200, "/x?y=%26")


def test_somebody_who_is_refused_here_gets_in_there(stack: Stack) -> None:
    browser, _ = deny(stack, "grafana.test", "mallory")

    answer = browser.visit(stack.url("wiki.other.example"))

    assert answer.status == 200
    assert not [step for step in browser.history[3:] if step.location.startswith(stack.provider.issuer)]


def test_somebody_who_is_refused_goes_in_no_circles(stack: Stack) -> None:
    browser, _ = deny(stack, "grafana.test", "mallory")

    for _ in range(6):
        answer = browser.visit(stack.url("grafana.test"))
        assert PageOutline(answer.text).get_text("h1") == "No access to Grafana"


@pytest.mark.parametrize("headers", [FETCH, WEBSOCKET], ids=["fetch", "websocket"])
def test_a_host_that_nobody_configured_is_refused(stack: Stack, headers: tuple[tuple[str, str], ...]) -> None:
    """nginx serves *.apps.test; a deeper name is served by nobody, and closed without a word."""
    with pytest.raises((ConnectionError, OSError)):
        stack.browser().request(stack.url("nobody.test"), headers=headers)
    assert stack.application.count == 0
