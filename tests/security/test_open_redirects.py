"""Whatever is asked to be returned to, every address that authd writes leads to its own hosts.

Attacks.md 0.2, 1.1, 1.8, 1.10. Each string raw and percent-encoded, at each place that takes one; Node's URL says where
a browser would go.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from authd.login import TEAM_COOKIE
from authd.resources.page_headers import verify_link
from authd.urls import find_return_path
from tests.security.edge import TEAM_HOST, Edge, Reply
from tests.security.whatwg import resolve_all

STRINGS: list[str] = json.loads((Path(__file__).parents[1] / "vectors" / "redirects.json").read_text())["strings"]
APP, TEAM = "https://grafana.test:8443", f"https://{TEAM_HOST}:8443"
LONG = ["/" + "a" * 8999, "/" + "%22" * 3000, "//" + "e" * 8990 + ".com"]


def every_form(text: str) -> list[str]:
    """Raw as far as it can stand in a request line, and percent-encoded once in full."""
    raw = "".join(quote(character) if character <= " " or character in "#&\x7f" else character for character in text)
    return [raw.encode().decode("latin-1"), quote(text, safe="")]


def links(answer: Reply) -> list[str]:
    found = re.findall(rb"""(?:href|action|src)\s*=\s*["']?([^"'>\s]*)""", answer.body)
    found += re.findall(rb"""content="0; url=([^"]*)""", answer.body)
    return [html.unescape(link.decode()) for link in found] + answer.get_all("location") + answer.get_all("refresh")


async def answers_to(edge: Edge, text: str, aud: str, logged_in: str) -> list[tuple[str, Reply]]:
    """Every place that takes an address to return to, as (the page's origin, what was answered)."""
    login = f"/cdn-cgi/access/login/grafana.test?kid={aud}&redirect_url={text}"
    own = f"/cdn-cgi/access/login?redirect_url={text}"
    doubled = f"{login}&redirect_url=//evil.com"
    answers = [
        (TEAM, await edge.ask("/team/login/grafana.test", TEAM_HOST, target, cookie=cookie))
        for target in (login, doubled, login.replace("redirect_url=", "redirect_url[]="))
        for cookie in ("", logged_in)
    ]
    answers += [(APP, await edge.ask("/app/login", "grafana.test", own))]
    for name in ("return_to", "rd", "redirect_uri", "returnTo", "next", "url"):
        answers += [
            (APP, await edge.ask("/app/logout", "grafana.test", f"/?{name}={text}", method=method, sec_fetch_site=site))
            for method, site in (("GET", ""), ("GET", "same-origin"), ("POST", "same-origin"))
        ]
        answers += [(TEAM, await edge.ask("/team/logout", TEAM_HOST, f"/?{name}={text}"))]
    answers += [(APP, await edge.ask("/app/authorized", "grafana.test", f"/?nonce=x&state={text}"))]
    for method in ("GET", "POST") if text.startswith("/") else ():
        named = {"x_original_path": None, "x_authd_app": "grafana", "x_original_method": method}
        answers += [(APP, await edge.challenge(target=text, **named))]
    return answers


async def test_no_address_leads_off_our_hosts(edge: Edge) -> None:
    aud = edge.application("grafana").aud
    session = f"{TEAM_COOKIE}={edge.organisation_token(await edge.log_in())}"
    cases: list[tuple[str, str]] = []
    for text in [form for string in STRINGS + LONG for form in every_form(string)]:
        for origin, answer in await answers_to(edge, text, aud, session):
            assert answer.status in (200, 302, 400, 401, 403, 503), (answer.status, text)
            for link in links(answer):
                assert link.isascii()
                assert not re.search(r"[\x00-\x20\x7f]", link), link
                cases.append((link, f"{origin}/"))
                # What the next step is told to return to is used behind the application's own origin.
                cases += [(f"{APP}{path}", APP) for path in parse_qs(urlsplit(link).query).get("redirect_url", [])]
    places = resolve_all(cases)
    judged = zip(cases, places, strict=True)
    astray = {link for (link, _), place in judged if place is None or place["origin"] not in (APP, TEAM)}
    assert len(cases) > 1000
    assert astray == set()


def test_a_logout_leads_to_our_own_hosts_alone(edge: Edge) -> None:
    """Each string alone, and behind an address of ours as far as it is one: what is kept leads to us."""
    before = [
        "",
        "https:",
        "https://",
        APP,
        f"{APP}/",
        f"{APP}@",
        "https://grafana.test",
        TEAM,
        "https://x@grafana.test",
    ]
    texts = [f"{start}{text}" for start in before for string in STRINGS for text in (string, *every_form(string))]
    kept = [(url, f"{TEAM}/") for text in texts if (url := edge.worker.logout.find_return_url(text)) is not None]
    assert len(kept) > 20
    assert {
        url
        for (url, _), place in zip(kept, resolve_all(kept), strict=True)
        if place is None or place["origin"] not in (APP, TEAM)
    } == set()


async def walk(edge: Edge, answer: Reply, logged_in: str) -> str:
    """Follow a login that needs no provider, as the browser that began it; the last address, which is the page's."""
    jar = answer.get("set-cookie").partition(";")[0]
    handed_over = ""
    for _ in range(5):
        location = answer.get("location")
        if handed_over.startswith("CF_AUTHORIZATION="):
            return location
        path = urlsplit(location).path.removeprefix("/cdn-cgi/access")
        target = location.removeprefix(APP).removeprefix(TEAM)
        if location.startswith(TEAM):
            answer = await edge.ask(f"/team{path}", TEAM_HOST, target, cookie=logged_in)
        else:
            assert path == "/authorized", location
            answer = await edge.ask("/app/authorized", "grafana.test", target, cookie=jar)
            handed_over = answer.get("set-cookie")
    raise AssertionError(f"no end: {location}")


async def test_a_whole_login_ends_on_the_applications_own_host(edge: Edge) -> None:
    session = f"{TEAM_COOKIE}={edge.organisation_token(await edge.log_in())}"
    ends: list[tuple[str, str]] = []
    for text in [form for string in STRINGS + LONG for form in every_form(string)]:
        begun = [await edge.ask("/app/login", "grafana.test", f"/?redirect_url={text}")]
        if text.startswith("/"):
            begun += [await edge.challenge(target=text, x_original_path=None, x_authd_app="grafana")]
        ends += [(await walk(edge, answer, session), APP) for answer in begun if answer.status == 302]
    places = resolve_all(ends)
    assert len(ends) > 200
    assert {
        link for (link, _), place in zip(ends, places, strict=True) if place is None or place["origin"] != APP
    } == set()


async def test_no_value_ends_a_header_or_a_tag(edge: Edge) -> None:
    """CR, LF and angle brackets of a visitor in headers and pages of ours."""
    aud = edge.application("grafana").aud
    hostile = [
        "/%0d%0aSet-Cookie:%20evil=1",
        '/"><script>evil()</script>',
        "/'><img%20src=x%20onerror=evil()>",
        "/%00%0a%0dx",
    ]
    for text in hostile:
        for _, answer in await answers_to(edge, text, aud, ""):
            assert "evil" not in "".join(answer.get_all("set-cookie"))
            assert b"<script" not in answer.body.lower()
            assert b"<img" not in answer.body.lower()
            if b"<html" in answer.body:
                policy = answer.get("content-security-policy")
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy


@given(st.text(st.characters(max_codepoint=0xFF), max_size=60).map(lambda text: f"/{text}"))
def test_a_path_that_is_kept_is_a_path_for_a_browser_and_for_our_pages(text: str) -> None:
    kept = find_return_path(text)
    if kept is None:
        return
    assert kept[0] == "/"
    assert kept[1:2] not in ("/", "\\")
    assert re.fullmatch(r"[\x21-\x7e]+", kept)
    assert verify_link(f"{APP}{kept}") == f"{APP}{kept}"
    assert find_return_path(kept) == kept, "kept as it is on the next step"
