"""The guard of authd-server.conf steps aside for the check's own path, and for nothing that a visitor may write."""

from __future__ import annotations

import pytest

from tests.harness.protected import PROTECTED, Site, render_server

pytestmark = pytest.mark.nginx

# What an operator's host may do after the include: each would take the check, or a visitor, past authd.
HTTP = (
    render_server(
        "rewriting.example.com",
        f"rewrite ^(.*)$ /app$1 last; location / {{ return 404; }}location /app/ {{ set $authd_app app; {PROTECTED} }}",
    )
    + render_server(
        "closed.example.com",
        f"if ($arg_closed) {{ return 403; }} location / {{ set $authd_app app; {PROTECTED} }}",
    )
    + render_server(
        "redirecting.example.com",
        f"""
    error_page 404 403 /fallback;
    location / {{ set $authd_app app; {PROTECTED} }}
    location = /fallback {{ set $authd_app app; {PROTECTED} }}
    location /tries/ {{ set $authd_app app; include authd/authd-protect.conf; try_files /missing /.authd/check; }}
    location /page/ {{ error_page 404 = /.authd/check; return 404; }}
    location /moved/ {{ rewrite ^ /.authd/check last; }}
""",
    )
)
HOSTS = ["rewriting.example.com", "closed.example.com", "redirecting.example.com"]
LOOKS = [
    "/.authd/check", "/.authd/check?x", "/.authd/check?closed=1", "//.authd/check", "/./.authd/check",
    "/x/../.authd/check", "/%2e%61uthd/check", "/.authd%2fcheck", "/.authd/check#x", "/.AUTHD/check",
    "/.authd/check/", "/.authd/check.", "/.authd/check;x", "/.authd/check%20", "/.authd/check%0a",
    "/.authd/check%0d%0aX-Authd-User:%20eve", "/.authd/checks", "/cdn-cgi/access/../../.authd/check",
    "/.authd/never", "/.authd/challenge", "/.authd/unavailable.json",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("target", LOOKS)
def test_nothing_that_looks_like_the_check_is_let_through(site: Site, host: str, target: str) -> None:
    answer = site.get(host, target)
    assert answer.status in (302, 400, 403, 404), answer.status
    assert site.application.count == 0
    assert b"Cf-Access-Jwt-Assertion" not in answer.body

    answer = site.get(host, target, session="good")
    if site.application.count:
        assert [request.get("X-Authd-Session") for request in site.authd.checks][-1] == "good"


@pytest.mark.parametrize("session", ["", "denied", "good"])
@pytest.mark.parametrize("target", ["/tries/x", "/page/x", "/moved/x"])
def test_an_operator_who_sends_visitors_to_the_check_shows_them_no_page(site: Site, target: str, session: str) -> None:
    """A mistake, which lets nobody in: the check's answer has no body, and the application is not asked."""
    answer = site.get("redirecting.example.com", target, session=session)
    assert site.application.count == 0
    assert answer.body == b"" or answer.status >= 300


@pytest.mark.parametrize("host", HOSTS)
def test_the_check_is_asked_whatever_the_operator_rewrites(site: Site, host: str) -> None:
    for session, reached in (("", 0), ("denied", 0), ("good", 1)):
        site.forget()
        site.get(host, "/x", session=session)
        assert (site.application.count, len(site.authd.checks)) == (reached, 1), session
