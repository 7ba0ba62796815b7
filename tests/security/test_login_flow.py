"""The login, attacked from outside: state, code, browser, account (attacks.md 1.1, 1.5, 1.9, 1.10).

The browser that began is the browser that ends. Everything runs through nginx and the certified provider.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from authd.attempts import APP_SESSION_COOKIE
from authd.login import TEAM_COOKIE
from tests.harness.browser import Answer, Browser
from tests.harness.stack import TEAM, Stack

HOST = "grafana.test"
TOKEN = "CF_AUTHORIZATION"


@dataclass
class Attempt:
    """A login that a browser has begun, and the provider's answer to it that nobody has fetched yet."""

    browser: Browser
    callback: str

    def parameter(self, name: str) -> str:
        return parse_qs(urlsplit(self.callback).query)[name][0]


def begin(stack: Stack, account: str = "alice", browser: Browser | None = None, path: str = "/") -> Attempt:
    browser = browser or stack.browser()
    answer = browser.visit(stack.url(HOST, path))
    assert answer.location.startswith(stack.provider.issuer), answer.location
    return Attempt(browser, stack.provider.log_in(answer.location, account))


def copy_of(browser: Browser) -> Browser:
    return Browser(browser.port, {host: dict(jar) for host, jar in browser.cookies.items()})


def stop_before_code(stack: Stack, attempt: Attempt) -> str:
    """The address with the one-time code, which nobody has fetched yet."""
    answer = attempt.browser.request(attempt.callback)
    assert answer.status == 302, answer.text
    assert answer.location.startswith(stack.url(HOST, "/cdn-cgi/access/authorized?nonce="))
    return answer.location


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_logged_in(browser: Browser) -> bool:
    return TOKEN in browser.cookies.get(HOST, {}) or TEAM_COOKIE in browser.cookies.get(TEAM, {})


def assert_refused(answer: Answer, browser: Browser) -> None:
    assert answer.status in (400, 405), (answer.status, answer.location)
    assert not is_logged_in(browser)
    assert TEAM_COOKIE not in " ".join(answer.get_all("Set-Cookie"))


@pytest.fixture(scope="module")
def open_attempt(stack: Stack) -> Attempt:
    """One attempt for all callbacks that must not spend it."""
    return begin(stack)


CALLBACKS = {
    "no state": "code={code}",
    "empty state": "code={code}&state=",
    "foreign state": "code={code}&state={id}.{other}",
    "state of nobody": "code={code}&state=AAAA.BBBB",
    "state without its secret": "code={code}&state={id}",
    "state in upper case": "code={code}&state={STATE}",
    "state twice": "code={code}&state={state}&state={state}",
    "another state first": "state=x&code={code}&state={state}",
    "state as an array": "code={code}&state[]={state}",
    "state and NUL": "code={code}&state={state}%00",
    "state behind ;": "code={code};state={state}",
    "nothing": "",
    "state of 20 kB": "code={code}&state={long}",
    "a path as state": "code={code}&state=../../{state}",
}
SPENDING = {
    "code twice": "code={code}&code={code}&state={state}",
    "two codes": "code=x&code={code}&state={state}",
    "code and error": "code={code}&error=access_denied&state={state}",
    "no code": "state={state}",
    "empty code": "code=&state={state}",
    "another issuer": "code={code}&state={state}&iss=https%3A%2F%2Fevil.test",
    "two issuers": "code={code}&state={state}&iss={iss}&iss={iss}",
    "a code of nobody": "code=AAAA&state={state}&iss={iss}",
    "a page in the error": "error=%3Cscript%3E&error_description=%0d%0aX:y%3Cscript%3Ealert(1)&state={state}",
    "an ID token for a code": "id_token=eyJ.eyJ.x&state={state}&iss={iss}",
}


def fill(stack: Stack, template: str, attempt: Attempt) -> str:
    state = attempt.parameter("state")
    query = template.format(
        code=attempt.parameter("code"), state=state, STATE=state.upper(), id=state.partition(".")[0],
        other="x" * 32, long="x" * 20_000, iss=quote(stack.provider.issuer, safe=""),
    )  # fmt: skip
    return stack.url(TEAM, f"/cdn-cgi/access/callback?{query}")


@pytest.mark.parametrize("template", CALLBACKS.values(), ids=CALLBACKS)
def test_a_callback_without_this_browsers_state_is_refused(stack: Stack, open_attempt: Attempt, template: str) -> None:
    browser = copy_of(open_attempt.browser)
    assert_refused(browser.request(fill(stack, template, open_attempt)), browser)


@pytest.mark.parametrize("template", SPENDING.values(), ids=SPENDING)
def test_an_answer_that_is_not_the_providers_is_refused(stack: Stack, template: str) -> None:
    attempt = begin(stack)
    answer = attempt.browser.request(fill(stack, template, attempt))
    assert_refused(answer, attempt.browser)
    assert "<script" not in answer.text.lower()
    assert not any(name.lower() == "x" for name, _ in answer.headers)


def test_a_callback_is_taken_once_and_by_get_alone(stack: Stack) -> None:
    attempt = begin(stack)
    other = copy_of(attempt.browser)
    for method in ("POST", "PUT", "HEAD", "OPTIONS"):
        answer = attempt.browser.request(attempt.callback, method=method)
        assert not is_logged_in(attempt.browser), method
        assert answer.status != 302
    assert attempt.browser.visit(attempt.callback).status == 200
    assert_refused(other.request(attempt.callback), other)


def test_nobody_is_logged_in_by_somebody_elses_callback(stack: Stack) -> None:
    """Login CSRF: the visitor would work, and leave secrets, in the attacker's account."""
    attack = begin(stack, "mallory")
    victim = begin(stack).browser
    for browser in (stack.browser(), victim):
        assert_refused(browser.request(attack.callback), browser)
    with_state_of_victim = begin(stack)
    injected = with_state_of_victim.callback.replace(with_state_of_victim.parameter("code"), attack.parameter("code"))
    assert injected != with_state_of_victim.callback
    assert_refused(with_state_of_victim.browser.request(injected), with_state_of_victim.browser)


def test_a_one_time_code_is_worth_nothing_in_another_browser(stack: Stack) -> None:
    attack = begin(stack, "root")
    address = stop_before_code(stack, attack)
    stranger = stack.browser()
    assert_refused(stranger.request(address), stranger)
    # It was spent by the try, so that nobody has it now.
    assert_refused(copy_of_app(attack.browser).request(address), copy_of_app(attack.browser))
    attack = begin(stack, "root")
    address = stop_before_code(stack, attack)
    victim = begin(stack).browser
    answer = victim.request(address)
    assert answer.status == 302
    assert answer.location == stack.url(HOST)
    assert not is_logged_in(victim)


def copy_of_app(browser: Browser) -> Browser:
    return Browser(browser.port, {HOST: dict(browser.cookies[HOST])})


def test_a_one_time_code_is_for_one_host_and_one_use(stack: Stack) -> None:
    attempt = begin(stack)
    address = stop_before_code(stack, attempt)
    elsewhere = copy_of(attempt.browser)
    elsewhere.cookies["wiki.other.example"] = dict(elsewhere.cookies[HOST])
    assert elsewhere.request(address.replace(HOST, "wiki.other.example")).status == 400
    assert TOKEN not in elsewhere.cookies["wiki.other.example"]
    attempt = begin(stack)
    address = stop_before_code(stack, attempt)
    again = copy_of_app(attempt.browser)
    for doubled in (
        address + "&nonce=x",
        re.sub(r"nonce=(\w+)", r"nonce=\1&nonce=\1", address),
        address.replace("nonce", "Nonce"),
    ):
        assert_refused(again.request(doubled), again)
    assert attempt.browser.request(address).status == 302
    assert is_logged_in(attempt.browser)
    assert_refused(again.request(address), again)


def test_a_meta_means_one_browser_one_host_and_one_page(stack: Stack) -> None:
    """Moved to another host, page or application it begins nothing; in another browser it ends in nobody's login."""
    browser = stack.browser()
    location = browser.request(stack.url(HOST, "/one")).location
    wiki = stack.browser().request(stack.url("wiki.other.example", "/one")).location
    (kid,), (other_kid,) = (parse_qs(urlsplit(url).query)["kid"] for url in (location, wiki))
    for moved in (
        location.replace("%2Fone", "%2Ftwo"), location.replace(f"login/{HOST}", "login/wiki.other.example"),
        location.replace(f"login/{HOST}", "login/wiki.other.example").replace(kid, other_kid),
        location.replace(kid, other_kid), re.sub(r"meta=[^&]*", "meta=AAAA", location), re.sub(r"&meta=[^&]*", "", location),  # noqa: E501
        location + "&meta=x", location.replace("meta=", "meta=%00"),
    ):  # fmt: skip
        answer = stack.browser().request(moved)
        assert not answer.location.startswith(stack.provider.issuer)
        assert not answer.get_all("Set-Cookie")
        assert answer.status in (302, 400)
    victim = stack.log_in(stack.url("wiki.other.example"), "alice")
    handed = victim.visit(location, stop_at=stack.url(HOST, "/cdn-cgi/access/authorized"))
    assert "authorized?nonce=" in handed.location
    victim.request(handed.location)
    assert TOKEN not in victim.cookies.get(HOST, {})
    assert not is_logged_in(copy_of_app(browser))


def test_no_session_is_continued_that_somebody_planted(stack: Stack) -> None:
    """Fixation: the attacker's session in the victim's browser is neither taken over nor left alive."""
    attacker = stack.log_in(stack.url(HOST), "root")
    planted = attacker.cookies[TEAM][TEAM_COOKIE]
    victim = stack.browser()
    victim.cookies[TEAM] = {TEAM_COOKIE: planted}
    switch = victim.visit(stack.url(HOST, "/cdn-cgi/access/login?prompt=select_account&redirect_url=%2F"))
    assert victim.visit(stack.provider.log_in(switch.location, "alice")).status == 200
    assert victim.cookies[TEAM][TEAM_COOKIE] != planted
    answer = victim.visit(stack.url(HOST, "/cdn-cgi/access/get-identity"))
    assert answer.json()["email"] == "alice@example.com"
    assert attacker.request(stack.url(TEAM, "/cdn-cgi/access/get-identity")).status == 401
    # nginx may give its last answer for as long as a decision is remembered.
    wait_until(lambda: attacker.request(stack.url(HOST)).status == 302)


def test_the_browsers_own_name_decides_about_nobody_else(stack: Stack) -> None:
    """Whoever writes an AppSession of their own stops or turns their own rounds, and nothing else."""
    for value in ("A" * 22 + ".3.9999999999", "A" * 22 + ".999.0", "A" * 22 + ".-1.0", "A" * 5000, "\xff", "A" * 22):
        browser = stack.browser()
        browser.cookies[HOST] = {APP_SESSION_COOKIE: value}
        answer = browser.request(stack.url(HOST))
        assert answer.status in (302, 403), value
        assert TOKEN not in browser.cookies[HOST]
    stack.log_in(stack.url(HOST), "alice", browser)


def test_forty_logins_at_once_stay_forty_people(stack: Stack) -> None:
    """tinyauth's CVE-2026-33544: what one login keeps between two requests must not be another's."""
    accounts = ["alice", "root"] * 20

    def log_in(account: str) -> str:
        browser = stack.log_in(stack.url(HOST), account)
        answer = browser.request(stack.url(HOST, "/cdn-cgi/access/get-identity"))
        return str(answer.json()["email"])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(log_in, accounts))
    assert found == [f"{account}@example.com" for account in accounts]
