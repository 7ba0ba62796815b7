"""From a protected page to the identity provider and back, and what becomes of whoever goes another way."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import Answer, Browser
from tests.harness.stack import TEAM, Stack


def go_to_provider(stack: Stack, url: str, browser: Browser | None = None) -> tuple[Browser, str]:
    """A browser that stands before the provider's page, and the address of that page."""
    browser = browser or stack.browser()
    answer = browser.visit(url)
    assert answer.location.startswith(stack.provider.issuer)
    return browser, answer.location


def claims_in(browser: Browser, host: str, cookie: str = "CF_AUTHORIZATION") -> dict[str, object]:
    """What a cookie's token says, signature not looked at."""
    claims: dict[str, object] = jwt.decode(browser.cookies[host][cookie], options={"verify_signature": False})
    return claims


def test_with_one_provider_nobody_is_asked_which(stack: Stack) -> None:
    browser = stack.log_in(stack.url("grafana.test", "/x"), "alice")

    assert [step.status for step in browser.history] == [302, 302, 302, 302, 200]
    hosts = [urlsplit(step.url).hostname for step in browser.history]
    assert hosts == ["grafana.test", TEAM, TEAM, "grafana.test", "grafana.test"]


def test_each_attempt_has_its_own_state_nonce_and_challenge(stack: Stack) -> None:
    browser = stack.browser()
    asked = [parse_qs(urlsplit(go_to_provider(stack, stack.url("grafana.test"), browser)[1]).query) for _ in range(2)]

    for query in asked:
        assert query["response_type"] == ["code"]
        assert query["code_challenge_method"] == ["S256"]
        assert query["redirect_uri"] == [stack.url(TEAM, "/cdn-cgi/access/callback")]
    for name in ("state", "nonce", "code_challenge"):
        first, second = (query[name][0] for query in asked)
        assert first != second
        assert len(first) >= 32


def test_nothing_secret_of_the_login_stands_in_the_log(stack: Stack) -> None:
    browser = stack.log_in(stack.url("grafana.test", "/x"), "alice")

    secrets = [value for jar in browser.cookies.values() for value in jar.values()]
    for step in browser.history:
        query = parse_qs(urlsplit(step.url).query)
        secrets += [value for name in ("code", "nonce", "state", "meta") for value in query.get(name, [])]
    assert len(secrets) > 5
    assert [secret for secret in secrets if secret in stack.log_text] == []


def test_one_login_opens_two_unrelated_domains(stack: Stack, alice: Browser) -> None:
    answer = alice.visit(stack.url("wiki.other.example", "/page"))

    assert answer.status == 200
    assert not any(step.location.startswith(stack.provider.issuer) for step in alice.history)
    tokens = [alice.cookies[host]["CF_AUTHORIZATION"] for host in ("grafana.test", "wiki.other.example")]
    assert tokens[0] != tokens[1]
    assert claims_in(alice, "grafana.test")["aud"] != claims_in(alice, "wiki.other.example")["aud"]


def test_the_hosts_of_a_wildcard_are_one_application_with_a_cookie_on_each(stack: Stack, alice: Browser) -> None:
    for host in ("one.apps.test", "two.apps.test"):
        assert alice.visit(stack.url(host)).status == 200

    assert claims_in(alice, "one.apps.test")["aud"] == claims_in(alice, "two.apps.test")["aud"]
    lines = [line for step in alice.history for line in step.get_all("Set-Cookie")]
    assert lines
    assert not [line for line in lines if "domain=" in line.lower()]


def test_an_application_on_a_path_has_a_cookie_beside_its_hosts_own(stack: Stack, alice: Browser) -> None:
    assert alice.visit(stack.url("shared.test", "/news")).status == 200
    assert alice.visit(stack.url("shared.test", "/admin/users?x=%26")).json()["target"] == "/admin/users?x=%26"

    names = sorted(name for name in alice.cookies["shared.test"] if name.startswith("CF_"))
    assert len(names) == 2
    whole, admin = names
    assert (whole, admin[:17], len(admin)) == ("CF_AUTHORIZATION", "CF_AUTHORIZATION_", 25)
    (audience,) = claims_in(alice, "shared.test", admin)["aud"]  # type: ignore[misc]
    assert audience.startswith(admin.removeprefix("CF_AUTHORIZATION_"))
    assert alice.request(stack.url("shared.test", "/news")).status == 200
    assert alice.request(stack.url("shared.test", "/admin")).status == 200


def test_who_may_enter_the_host_may_not_for_that_enter_the_path(stack: Stack) -> None:
    browser = stack.log_in(stack.url("shared.test"), "mallory")
    stack.application.seen.clear()

    answer = browser.visit(stack.url("shared.test", "/admin/users"))

    assert answer.status == 403
    assert PageOutline(answer.text).get_text("h1") == "No access to Administration"
    assert browser.request(stack.url("shared.test", "/")).status == 200
    assert stack.application.count == 1


def wait_for_status(browser: Browser, url: str, status: int, seconds: float = 10) -> Answer:
    """Ask until the answer has this status."""
    deadline = time.monotonic() + seconds
    while (answer := browser.request(url)).status != status:
        assert time.monotonic() < deadline, f"{url} still answers {answer.status}"
        time.sleep(0.1)
    return answer


def test_a_short_session_ends_by_itself_and_a_new_token_needs_no_provider(stack: Stack, alice: Browser) -> None:
    url = stack.url("brief.test", "/x")
    assert alice.visit(url).status == 200
    claims = claims_in(alice, "brief.test")
    assert claims["exp"] - claims["iat"] == 2  # type: ignore[operator]

    # This browser keeps cookies for ever: authd itself has to see that the time is over.
    wait_for_status(alice, url, 302)
    alice.history.clear()
    assert alice.visit(url).status == 200
    assert not any(step.location.startswith(stack.provider.issuer) for step in alice.history)


def check_failed(answer: Answer, sentence: str, start_url: str) -> None:
    """The page of a login that failed: says so, names a reference, and offers a way to begin anew."""
    outline = PageOutline(answer.text)
    assert answer.status == 400
    assert outline.get_text("h1") == "The login could not be finished"
    assert sentence in outline.get_text("main")
    assert outline.get("a")["href"] == start_url


def test_whoever_cancels_is_told_so_and_may_start_again(stack: Stack) -> None:
    url = stack.url("grafana.test", "/x?y=%26")
    browser, provider_page = go_to_provider(stack, url)

    answer = browser.visit(stack.provider.cancel(provider_page))

    check_failed(answer, "perhaps you cancelled", url)
    line = stack.events("login.failed")[-1]
    assert (line["idp"], line["reason"]) == ("corp", "access_denied")
    assert line["request_id"] == PageOutline(answer.text).get_text("code")
    assert stack.log_in(url, "alice", browser).history[-1].status == 200


def test_the_answer_of_the_provider_counts_once(stack: Stack) -> None:
    url = stack.url("grafana.test", "/x")
    browser, provider_page = go_to_provider(stack, url)
    callback = stack.provider.log_in(provider_page, "alice")
    team = dict(browser.cookies[TEAM])
    assert browser.request(callback).status == 302

    browser.cookies[TEAM] = team
    check_failed(browser.request(callback), "This login was used before.", url)


def test_the_answer_of_the_provider_counts_in_the_browser_that_began(stack: Stack) -> None:
    """Login CSRF: the attacker's own answer, followed by somebody else."""
    _, provider_page = go_to_provider(stack, stack.url("grafana.test"))
    callback = stack.provider.log_in(provider_page, "mallory")
    victim, _ = go_to_provider(stack, stack.url("grafana.test"))

    answer = victim.request(callback)

    check_failed(answer, "was not begun in this browser", stack.url(TEAM))
    assert "__Host-authd_team" not in victim.cookies[TEAM]


@pytest.mark.parametrize(
    "query", ["", "?state=x&code=y", "?code=y", "?state=&code=", "?state=a&state=b&code=c", "?error=x"]
)
def test_a_callback_that_belongs_to_nothing_is_a_page(stack: Stack, query: str) -> None:
    answer = stack.browser().request(stack.url(TEAM, f"/cdn-cgi/access/callback{query}"))

    check_failed(answer, "was not begun in this browser", stack.url(TEAM))


def test_a_one_time_code_counts_once_and_leads_back_to_its_page(stack: Stack) -> None:
    url = stack.url("grafana.test", "/x?y=%26")
    browser = stack.log_in(url, "alice")
    (authorized,) = [step.url for step in browser.history if "/authorized?" in step.url]

    check_failed(browser.request(authorized), "was used before, or it is too old", url)


def test_a_one_time_code_is_worth_nothing_in_another_browser(stack: Stack) -> None:
    browser, provider_page = go_to_provider(stack, stack.url("grafana.test", "/x"))
    callback = stack.provider.log_in(provider_page, "mallory")
    code = browser.request(callback).location
    victim, _ = go_to_provider(stack, stack.url("grafana.test", "/x"))

    answer = victim.request(code)

    assert "CF_AUTHORIZATION" not in victim.cookies["grafana.test"]
    assert answer.status in (302, 400)


def test_a_login_address_without_its_sealed_part_begins_at_the_application(stack: Stack) -> None:
    first = stack.browser().request(stack.url("grafana.test", "/x"))
    address = first.location.partition("&meta=")[0]
    for ending in ("", "&meta=", "&meta=AAAA", first.location.partition("&meta=")[1] + "x" * 400):
        assert stack.browser().request(address + ending).location == stack.url("grafana.test", "/x")


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil", "/%0d%0aX: y\r"]
)
def test_a_login_address_never_leads_to_another_host(stack: Stack, wanted: str) -> None:
    first = stack.browser().request(stack.url("grafana.test", "/x"))
    base = first.location.partition("&redirect_url=")[0]

    answer = stack.browser().request(f"{base}&redirect_url={requests.utils.quote(wanted, safe='')}")

    if answer.status == 302:
        assert answer.location.startswith(stack.url("grafana.test", "/"))
    else:
        assert (answer.status, "is not a path" in answer.text) == (400, True)


def test_the_team_host_lists_what_somebody_may_open(stack: Stack, alice: Browser) -> None:
    outline = PageOutline(alice.request(stack.url(TEAM)).text)

    addresses = [link["href"] for link in outline.all("a")]
    assert stack.url("grafana.test", "/") in addresses
    assert stack.url("shared.test", "/admin") in addresses
    assert stack.url("vault.test", "/") not in addresses
    assert "You are not logged in" in stack.browser().request(stack.url(TEAM)).text
