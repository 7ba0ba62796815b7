"""The page at `/` of the team host: what somebody may open, where they are logged in, and how they end that."""

from __future__ import annotations

import re

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import NAVIGATION, Answer, Browser
from tests.harness.stack import TEAM, Stack
from tests.stories.waiting import wait_until

OWN_FORM = (*NAVIGATION[:3], ("Sec-Fetch-Site", "same-origin"))
SESSIONS = "/cdn-cgi/access/end-session"
WITHIN_SECONDS = 2.0


def is_in(stack: Stack, browser: Browser) -> bool:
    return browser.request(stack.url("grafana.test")).status == 200


def read_page(stack: Stack, browser: Browser) -> tuple[str, list[str], str]:
    """The page's text, the ids of the sessions on it, and the token of its forms."""
    text = browser.request(stack.url(TEAM)).text
    ids = [found for found in re.findall(r'name="session" value="([^"]+)"', text) if found not in ("others", "all")]
    token = re.search(r'name="token" value="([0-9a-f]+)"', text)
    assert token
    return PageOutline(text).get_text("main"), ids, token[1]


def send(stack: Stack, browser: Browser, token: str, end: str, headers: object = OWN_FORM) -> Answer:
    return browser.request(
        stack.url(TEAM, SESSIONS), method="POST", headers=headers, form={"token": token, "session": end}
    )


@pytest.fixture
def browsers(stack: Stack) -> list[Browser]:
    """Three browsers of one person, who has no other sessions any more."""
    first = stack.log_in(stack.url("grafana.test"), "alice")
    _, _, token = read_page(stack, first)
    send(stack, first, token, "others")
    return [first, *(stack.log_in(stack.url("grafana.test"), "alice") for _ in range(2))]


def test_a_page_shows_each_session_and_marks_this_one(stack: Stack, browsers: list[Browser]) -> None:
    text, ids, _ = read_page(stack, browsers[0])

    assert len(ids) == len(set(ids)) == 3
    assert text.count("this browser") == 1
    assert "127.0.0.1" in text


def test_another_session_is_out_within_two_seconds_even_on_a_hot_page(stack: Stack, browsers: list[Browser]) -> None:
    here, *others = browsers
    _, ids, token = read_page(stack, here)
    # This one stands first. The order of the others says nothing where both began in one second.
    answer = send(stack, here, token, ids[1])

    assert (answer.status, answer.location) == (303, stack.url(TEAM))
    took = wait_until(lambda: not all(is_in(stack, other) for other in others), "one of the others is out")
    assert took <= WITHIN_SECONDS
    assert is_in(stack, here)
    assert sum(is_in(stack, other) for other in others) == 1
    _, left, _ = read_page(stack, here)
    assert left == [ids[0], ids[2]]


def test_all_others_and_then_all(stack: Stack, browsers: list[Browser]) -> None:
    here, *others = browsers
    _, _, token = read_page(stack, here)
    send(stack, here, token, "others")
    wait_until(lambda: not any(is_in(stack, other) for other in others), "the others are out")
    assert is_in(stack, here)

    answer = send(stack, here, token, "all")

    assert PageOutline(answer.text).get_text("h1") == "You are logged out"
    assert here.cookies[TEAM] == {}
    wait_until(lambda: not is_in(stack, here), "this one is out as well")


def test_nobody_else_can_send_that_form(stack: Stack, browsers: list[Browser]) -> None:
    here = browsers[0]
    _, ids, token = read_page(stack, here)
    mallory = stack.log_in(stack.url("wiki.other.example"), "mallory")
    _, [their_id, *_], their_token = read_page(stack, mallory)  # others are of the stories before this one
    foreign = (*NAVIGATION[:3], ("Sec-Fetch-Site", "cross-site"))

    send(stack, here, token, "all", foreign)
    send(stack, here, "", "all")
    send(stack, here, their_token, "all")
    send(stack, mallory, their_token, ids[0])
    send(stack, mallory, their_token, "")
    send(stack, stack.browser(), token, "all")
    send(stack, here, token, their_id)

    assert all(is_in(stack, browser) for browser in browsers)
    assert mallory.request(stack.url("wiki.other.example")).status == 200


def test_a_get_ends_nothing(stack: Stack, browsers: list[Browser]) -> None:
    _, _, token = read_page(stack, browsers[0])

    answer = browsers[0].request(stack.url(TEAM, f"{SESSIONS}?token={token}&end=all"), headers=OWN_FORM)

    assert answer.status == 405
    assert all(is_in(stack, browser) for browser in browsers)
