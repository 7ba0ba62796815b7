"""A login that works and still leaves nobody logged in ends on a page that names the likely cause."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import Answer, Browser
from tests.harness.stack import TEAM, Stack
from tests.stories.installation import SECTIONS
from tests.stories.test_login import claims_in

HOST = "grafana.test"
ROUNDS = 3


@dataclass(slots=True)
class BrokenBrowser(Browser):
    """`drops` are names of cookies that it never keeps, `insists_on` what it sends instead of what it was given.

    Both only on the host of the application.
    """

    drops: frozenset[str] = frozenset()
    insists_on: dict[str, str] = field(default_factory=dict)

    def _keep_cookies(self, host: str, answer: Answer) -> None:
        Browser._keep_cookies(self, host, answer)
        if host != TEAM:
            jar = self.cookies.setdefault(host, {})
            jar.update(self.insists_on)
            for name in self.drops & jar.keys():
                del jar[name]


# Not the page itself, which would only show the same again for a minute.
START_AGAIN = "/cdn-cgi/access/login?redirect_url=%2Fx%3Fy%3D%2526"


def log_in(stack: Stack, browser: Browser, host: str = HOST) -> Answer:
    answer = browser.visit(stack.url(host, "/x?y=%26"))
    assert answer.location.startswith(stack.provider.issuer)
    return browser.visit(stack.provider.log_in(answer.location, "alice"))


def check_loop(stack: Stack, browser: Browser, answer: Answer, cause: str) -> None:
    outline = PageOutline(answer.text)
    assert answer.status == 403
    assert outline.get_text("h1") == "Logging in does not come to an end"
    assert cause in outline.get_text("main")
    assert outline.get("a")["href"] == stack.url(HOST, START_AGAIN)
    assert len([step for step in browser.history if "/authorized?" in step.url]) == ROUNDS
    assert stack.application.count == 0


def test_a_browser_that_keeps_no_token_is_told_of_its_cookies(stack: Stack) -> None:
    browser = BrokenBrowser(stack.port, drops=frozenset({"CF_AUTHORIZATION"}))

    answer = log_in(stack, browser)

    check_loop(stack, browser, answer, "Your browser does not send back the cookie that the login sets.")


def test_a_browser_that_keeps_no_cookie_at_all_is_told_at_once(stack: Stack) -> None:
    browser = BrokenBrowser(stack.port, drops=frozenset({"CF_AUTHORIZATION", "__Host-CF_AppSession"}))

    answer = log_in(stack, browser)

    outline = PageOutline(answer.text)
    assert answer.status == 400
    assert "Your browser did not keep the cookie of this login." in outline.get_text("main")
    assert outline.get("a")["href"] == stack.url(HOST, "/x?y=%26")


def test_a_token_that_has_always_expired_already_points_at_the_clock(stack: Stack) -> None:
    """Two servers, one of them an hour ahead: what the one issues has expired for the other."""
    url, brief = stack.url("brief.test", "/x"), stack.browser()
    stack.log_in(url, "alice", brief)
    expired = brief.cookies["brief.test"]["CF_AUTHORIZATION"]
    deadline = time.monotonic() + 10
    while time.time() <= int(str(claims_in(brief, "brief.test")["exp"])):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    browser = BrokenBrowser(stack.port, insists_on={"CF_AUTHORIZATION": expired})

    answer = log_in(stack, browser, "brief.test")

    outline = PageOutline(answer.text)
    assert (answer.status, outline.get_text("h1")) == (403, "Logging in does not come to an end")
    assert "has already expired when it arrives" in outline.get_text("main")
    assert "clock" in outline.get_text("main")


def test_a_token_of_another_application_points_at_the_shared_cookie(stack: Stack) -> None:
    wiki = stack.log_in(stack.url("wiki.other.example"), "alice").cookies["wiki.other.example"]["CF_AUTHORIZATION"]
    stack.application.seen.clear()
    browser = BrokenBrowser(stack.port, insists_on={"CF_AUTHORIZATION": wiki})

    answer = log_in(stack, browser)

    check_loop(stack, browser, answer, "The token of the login belongs to another application.")


def test_a_token_that_was_damaged_on_its_way_says_that_it_is_refused(stack: Stack) -> None:
    browser = BrokenBrowser(stack.port, insists_on={"CF_AUTHORIZATION": "cut"})

    answer = log_in(stack, browser)

    check_loop(stack, browser, answer, "The token of the login is refused where it is checked.")


def test_the_page_of_the_loop_does_not_turn_scripts_away_differently(stack: Stack) -> None:
    browser = BrokenBrowser(stack.port, drops=frozenset({"CF_AUTHORIZATION"}))
    log_in(stack, browser)

    answer = browser.request(stack.url(HOST), headers=[("Sec-Fetch-Mode", "cors")])

    assert (answer.status, answer.json()["error"]) == (401, "login_required")


def test_five_applications_on_one_host_are_five_logins_and_no_loop(stack: Stack, alice: Browser) -> None:
    for name in ("", "admin", *SECTIONS):
        answer = alice.visit(stack.url("shared.test", f"/{name}"))

        assert answer.status == 200, PageOutline(answer.text).get_text("h1")


def test_a_loop_at_one_application_is_found_though_another_one_on_the_host_works(stack: Stack) -> None:
    browser = BrokenBrowser(stack.port, drops=frozenset({"CF_AUTHORIZATION"}))
    assert log_in(stack, browser, "shared.test").status == 403
    assert browser.visit(stack.url("shared.test", "/docs")).status == 200

    answer = browser.visit(stack.url("shared.test", "/x"))

    assert PageOutline(answer.text).get_text("h1") == "Logging in does not come to an end"
