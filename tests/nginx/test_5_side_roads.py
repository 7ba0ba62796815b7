"""Requests that nginx makes of a visitor's one (a mirror, an addition, a page of the application's choice) show
the application whom authd named for it, byte for byte, and nobody where nobody was named.

authd is not asked for subrequests, and is for what an internal redirect leads to, where that is protected.
"""

from __future__ import annotations

import time

import pytest

from authd.nginx_files import NginxSettings
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Message, Reply
from tests.nginx.test_5_token_at_hand import NAME, take_the_offer

pytestmark = pytest.mark.nginx

HOST = "app.example.com"
SETTINGS = NginxSettings(bound_cookies=(("bound", "CF_AUTHORIZATION_bound"),), scopes=((HOST, "host"),))
_PASS = "include authd/authd-identity.conf; proxy_pass http://{app}"
HTTP = render_server(
    HOST,
    f"""
    location /mirrored/ {{ set $authd_app app; {PROTECTED} mirror /side; }}
    location /added/ {{ set $authd_app app; {PROTECTED} add_after_body /side; addition_types *; }}
    location = /side {{ internal; {_PASS}/side; }}
    location /status/ {{
        set $authd_app app; {PROTECTED} proxy_intercept_errors on; error_page 404 /side; error_page 410 /bound/page;
    }}
    location /bound/ {{ set $authd_app bound; {PROTECTED} }}
    location /accel {{ set $authd_app app; {PROTECTED} }}
    location /open {{ {_PASS}; }}
    location /split/ {{ set $authd_app app; {PROTECTED} mirror /bound/mirror; }}
""",
)
FORGED = ((NAME, "forged"), ("X-Authd-Token-From", "session"), ("X-Authd-User", "eve"), ("X-Authd-Session", "good-eve"))
_SECONDS = 5
BOTH = "CF_AUTHORIZATION=good1; CF_AUTHORIZATION_bound=good2"


def shown(site: Site, target: str, cookie: str, *, requests: int = 2) -> dict[str, list[tuple[str, str]]]:
    """Token and user that the application was told, by the path that it was asked for."""
    site.forget()
    site.authd.program(check=take_the_offer)
    site.get(HOST, target, headers=[*FORGED, ("Cookie", cookie)])
    deadline = time.monotonic() + _SECONDS
    # nginx answers before a mirror has.
    while site.application.count < requests and time.monotonic() < deadline:
        time.sleep(0.01)
    return {
        seen.target: list(zip(told(seen, NAME), told(seen, "X-Authd-User"), strict=True))
        for seen in site.application.seen
    }


def told(request: Message, name: str) -> list[str]:
    return [value for value in request.get_all(name) if value]


@pytest.mark.parametrize(
    ("target", "side"), [("/mirrored/x", "/side"), ("/added/x", "/side"), ("/status/404", "/side")]
)
def test_a_side_road_shows_whom_the_main_one_shows(site: Site, target: str, side: str) -> None:
    assert shown(site, target, "CF_AUTHORIZATION=good1") == {target: [("good1", "good1")], side: [("good1", "good1")]}
    assert len(site.authd.checks) == 1
    assert shown(site, target, "CF_AUTHORIZATION=open") == {target: [], side: []}
    assert shown(site, target, "CF_AUTHORIZATION=bad", requests=0) == {}


def test_a_subrequest_to_another_application_is_not_asked_about_and_shows_the_first_ones_person(site: Site) -> None:
    """nginx asks nobody about a subrequest. What it shows is what was verified, not the other application's cookie."""
    assert shown(site, "/split/x", BOTH) == {"/split/x": [("good1", "good1")], "/bound/mirror": [("good1", "good1")]}
    assert [check.get("X-Authd-Session") for check in site.authd.checks] == ["good1"]
    assert shown(site, "/split/x", "CF_AUTHORIZATION=bad; CF_AUTHORIZATION_bound=good2", requests=0) == {}


def test_a_page_of_another_application_is_asked_about_and_shows_its_own_person(site: Site) -> None:
    assert shown(site, "/status/410", BOTH) == {
        "/status/410": [("good1", "good1")],
        "/bound/page": [("good2", "good2")],
    }
    assert [check.get("X-Authd-Session") for check in site.authd.checks] == ["good1", "good2"]
    # Who may not see the second sees neither it nor the first one's answer.
    found = shown(site, "/status/410", "CF_AUTHORIZATION=good1; CF_AUTHORIZATION_bound=bad", requests=1)
    assert found == {"/status/410": [("good1", "good1")]}


@pytest.mark.parametrize(
    ("place", "cookie", "second"),
    [
        ("/bound/page", BOTH, [("good2", "good2")]),
        ("/bound/page", "CF_AUTHORIZATION=good1; CF_AUTHORIZATION_bound=open", []),
        ("/side", "CF_AUTHORIZATION=good1", [("good1", "good1")]),
        ("/open", "CF_AUTHORIZATION=good1", [("good1", "good1")]),
        ("/side", "CF_AUTHORIZATION=open", []),
    ],
)
def test_where_the_application_sends_nginx_it_shows_whom_was_asked_about(
    site: Site, monkeypatch: pytest.MonkeyPatch, place: str, cookie: str, second: list[tuple[str, str]]
) -> None:
    """X-Accel-Redirect. An application cannot name anybody by it, nor by the headers of its answer."""

    def send_on(request: Message) -> Reply:
        if request.target != "/accel":
            return Reply(200)
        forged = ((NAME, "forged"), ("X-Authd-Token-From", "session"), ("X-Authd-User", "eve"))
        return Reply(200, (("X-Accel-Redirect", place), *forged))

    monkeypatch.setattr(site.application, "handler", send_on)
    found = shown(site, "/accel", cookie)
    assert found.pop("/accel") == ([("good1", "good1")] if "good1" in cookie else [])
    assert found == {place: second}


def test_an_open_page_shows_nobody(site: Site) -> None:
    assert shown(site, "/open", BOTH, requests=1) == {"/open": []}
