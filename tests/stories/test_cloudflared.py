"""What cloudflared asks before it believes that an application is behind Access, done by hand.

reference/access-wire.md 6.1: A (discovery), D (exchange of the organisation's token) and F (is this token still good).
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.harness.browser import Answer, Browser
from tests.harness.stack import TEAM, Stack
from tests.stories.test_login import claims_in

CLOUDFLARED = (("User-Agent", "cloudflared/2026.7.3"),)
LOGIN = "/cdn-cgi/access/login"
AUTHORIZED = "/cdn-cgi/access/authorized"


def head(stack: Stack, url: str, cookies: str = "") -> Answer:
    headers = [*CLOUDFLARED, *([("Cookie", cookies)] if cookies else [])]
    return stack.browser().request(url, method="HEAD", headers=headers)


@pytest.mark.parametrize(
    ("host", "domain"),
    [("grafana.test", "grafana.test"), ("one.apps.test", "*.apps.test"), ("shared.test", "shared.test")],
)
def test_a_discovery_by_redirects_finds_audience_host_and_domain(stack: Stack, host: str, domain: str) -> None:
    first = head(stack, stack.url(host, "/"))
    login = head(stack, first.location)

    parts = urlsplit(first.location)
    assert parts.path.startswith(LOGIN)
    assert parts.hostname == TEAM
    (audience,) = parse_qs(parts.query)["kid"]
    assert audience == first.get("CF-Access-Aud") == login.get("CF-Access-Aud")
    assert first.get("CF-Access-Domain") == login.get("CF-Access-Domain") == domain


def test_a_discovery_without_a_redirect_finds_them_too(stack: Stack) -> None:
    answer = stack.browser().request(stack.url("grafana.test"), method="HEAD", headers=[("Sec-Fetch-Mode", "cors")])

    assert answer.status == 401
    assert len(answer.get("CF-Access-Aud")) == 64
    assert answer.get("CF-Access-Domain") == "grafana.test"


def test_d_the_organisations_token_is_exchanged_by_three_heads(stack: Stack, alice: Browser) -> None:
    """Cookies by hand, as cloudflared adds them: the team's on the login, the application's on the way back."""
    organisation = alice.cookies[TEAM]["__Host-authd_team"]

    first = head(stack, stack.url("wiki.other.example", "/"))
    (app_session,) = first.get_all("Set-Cookie")
    login = head(stack, first.location, f"__Host-authd_team={organisation}")
    assert urlsplit(login.location).path == AUTHORIZED
    authorized = head(stack, login.location, app_session.partition(";")[0])

    (line,) = [line for line in authorized.get_all("Set-Cookie") if line.startswith("CF_AUTHORIZATION=")]
    morsel = SimpleCookie(line)["CF_AUTHORIZATION"]
    # Go's cookie jar leaves the time empty when only Max-Age is sent, and cloudflared then takes the cookie for dead.
    assert parsedate_to_datetime(morsel["expires"]).timestamp() > parsedate_to_datetime(login.get("Date")).timestamp()
    browser = Browser(stack.port, {"wiki.other.example": {"CF_AUTHORIZATION": morsel.value}})
    assert browser.request(stack.url("wiki.other.example")).status == 200
    assert claims_in(browser, "wiki.other.example")["email"] == "alice@example.com"


def probe(stack: Stack, token: str) -> Answer:
    """F: only a 302 to the login means that the token is dead."""
    url = stack.url("grafana.test", "/?cloudflared_token_check=true")
    return stack.browser().request(url, headers=[*CLOUDFLARED, ("Cf-Access-Token", token)])


def test_f_a_living_token_is_told_as_alive(stack: Stack, alice: Browser) -> None:
    assert probe(stack, alice.cookies["grafana.test"]["CF_AUTHORIZATION"]).status == 200


@pytest.mark.parametrize("token", ["dead", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"])
def test_f_a_dead_token_is_told_as_dead(stack: Stack, token: str) -> None:
    answer = probe(stack, token)

    assert answer.status == 302
    assert urlsplit(answer.location).path.startswith(LOGIN)
    assert stack.application.count == 0


@pytest.mark.parametrize(
    "headers",
    [
        (("Cf-Access-Token", "dead"), ("Sec-Fetch-Mode", "cors")),
        (("User-Agent", "cloudflared/2026.8.2"), ("Accept", "application/json")),
        (("User-Agent", "cloudflared/2026.8.2"), ("Upgrade", "websocket"), ("Connection", "Upgrade")),
    ],
)
def test_cloudflared_is_redirected_whatever_else_it_sends(stack: Stack, headers: tuple[tuple[str, str], ...]) -> None:
    """Its WebSocket dial triggers the login only by a redirect (6.2)."""
    answer = stack.browser().request(stack.url("grafana.test"), headers=headers)

    assert (answer.status, urlsplit(answer.location).path.startswith(LOGIN)) == (302, True)
