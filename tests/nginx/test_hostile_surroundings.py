"""A host whose own settings would open it, or spoil the login, if authd's locations inherited them.

Findings 2.6, 2.12 and 4.5 of reference/nginx-contract.md, and the surroundings of its section C.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Message, Reply
from tests.harness.standin import IDENTITY, LOGIN_ADDRESS

pytestmark = pytest.mark.nginx

# Every line has been seen in a real configuration, most of them for a reason.
_SURROUNDINGS = """
    proxy_intercept_errors on;
    expires 1y;
    set $authd_hsts max-age=1;
    add_header Cache-Control public;
    proxy_cache other;
    proxy_cache_key everything;
    proxy_cache_valid any 1m;
    proxy_cache_use_stale error timeout updating http_500 http_503 http_403 http_404;
    proxy_cache_background_update on;
    proxy_cache_lock on;
    proxy_cache_lock_timeout 2s;
    proxy_cache_revalidate on;
    proxy_cache_min_uses 3;
    proxy_no_cache 0;
    proxy_ignore_headers X-Accel-Expires Expires Cache-Control Set-Cookie Vary;
    proxy_buffering off;
    proxy_buffer_size 1k;
    proxy_buffers 2 1k;
    proxy_busy_buffers_size 1k;
    proxy_hide_header Set-Cookie;
    proxy_hide_header Location;
    proxy_hide_header Content-Security-Policy;
    proxy_redirect ~^(.*)$ https://elsewhere.example.com/;
    proxy_cookie_path / /elsewhere;
    proxy_cookie_domain ~.* elsewhere.example.com;
    proxy_cookie_flags ~ nosecure nosamesite nohttponly;
    proxy_method POST;
    proxy_set_body "the operator's body";
    proxy_request_buffering off;
    proxy_http_version 1.0;
    proxy_set_header X-Authd-Session good-forged;
    proxy_set_header X-Operator yes;
    proxy_next_upstream off;
    proxy_limit_rate 10;
    open_file_cache_min_uses 100;
    open_file_cache_errors on;
    recursive_error_pages on;
    ssi on;
    mirror /mirror;
    client_body_in_file_only clean;
    client_body_buffer_size 1k;
"""
# The two hosts differ in these: each would break something else.
_MAINTENANCE = """
    error_page 500 502 503 504 =200 /maintenance.html;
    proxy_cache_bypass 1;
    proxy_pass_request_body on;
"""
_FALLBACK = """
    error_page 500 502 503 504 = @fallback;
    proxy_pass_request_body off;
"""
# The lines that the application's own location would rather not have either.
_CALM = "proxy_cache off; proxy_buffering on; proxy_method $request_method; mirror off; proxy_limit_rate 0;"


def _hostile(name: str, error_page: str) -> str:
    return render_server(
        name,
        f"""
    {_SURROUNDINGS}
    {error_page}
    rewrite ^/(?!app/|maintenance|mirror)(.*)$ /app/$1 last;
    location / {{ return 404; }}
    location = /maintenance.html {{ internal; return 200 "back soon"; }}
    location = /mirror {{ internal; proxy_cache off; proxy_pass http://{{app}}/mirrored; }}
    location @fallback {{ proxy_pass http://{{app}}; }}
    location /app/ {{ {_CALM} set $authd_app app; {PROTECTED} }}
""",
    )


HTTP = (
    "proxy_cache_path {directory}/other keys_zone=other:1m;"
    + _hostile("maintenance.example.com", _MAINTENANCE)
    + _hostile("fallback.example.com", _FALLBACK)
)
HOSTS = ("maintenance.example.com", "fallback.example.com")
_EXPECTED_503 = {
    "500": Reply(500),
    "502": Reply(502),
    "503": Reply(503),
    "504": Reply(504),
    "404": Reply(404),
    "302": Reply(302, (("Location", "/"),)),
    "dropped": Reply(drop=True),
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("failure", _EXPECTED_503)
def test_2_6_an_inherited_maintenance_page_does_not_let_anybody_in(site: Site, failure: str, host: str) -> None:
    site.authd.program(check=_EXPECTED_503[failure])
    answer = site.get(host, "/x", session="good")
    assert site.application.count == 0
    assert (answer.status, answer.get("Retry-After")) == (503, "5")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_2_7_the_page_for_it_is_neither_cached_nor_framed(site: Site, host: str, accept: str) -> None:
    site.authd.program(check=Reply(500))
    answer = site.get(host, "/x", headers=[("Accept", accept)])
    assert (answer.status, answer.get("Retry-After"), answer.get("Expires")) == (503, "5", None)
    assert answer.get_all("Cache-Control") == ["no-store"]
    assert answer.get("X-Content-Type-Options") == "nosniff"
    assert answer.get("Strict-Transport-Security") == "max-age=1"
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    assert answer.get("Content-Security-Policy") == (policy if accept == "text/html" else None)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("target", ["/x", "/cdn-cgi/access/authorized?nonce=1"])
def test_2_6_authd_gone_lets_nobody_in(site: Site, host: str, target: str) -> None:
    site.authd.program(check=Reply(drop=True), endpoint=Reply(drop=True))
    assert site.get(host, target, session="good").status == 503
    assert site.application.count == 0


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 429, 500, 503])
def test_2_12_the_challenge_reaches_the_visitor_as_authd_wrote_it(site: Site, host: str, status: int) -> None:
    headers = (
        ("Location", LOGIN_ADDRESS),
        ("Set-Cookie", "CF_AppSession=1; Domain=auth.example.com; Path=/; Secure; HttpOnly; SameSite=None"),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'"),
        ("Content-Type", "text/html"),
    )
    page = b'authd <!--# include virtual="/mirror" -->'
    site.authd.program(challenge=Reply(status, headers, page))
    answer = site.get(host, "/x")
    assert (answer.status, answer.body) == (status, page)
    for name, value in headers:
        assert answer.get_all(name) == [value]
    assert answer.get("Expires") is None
    assert site.application.count == 0, "a request of a stranger was mirrored"


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("target", ["/x", "/cdn-cgi/access/get-identity"])
def test_2_12_what_authd_says_to_one_visitor_is_not_kept_for_another(site: Site, host: str, target: str) -> None:
    """One key for everything, a minute for any status, after three uses: as the surroundings want it."""
    for number in range(6):
        page = Reply(200, (("Content-Type", "text/html"),), f"page {number}".encode())
        site.authd.program(challenge=page, endpoint=page)
        assert site.get(host, target).text == f"page {number}"


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("status", [200, 302, 400, 403, 500, 503])
def test_2_12_an_endpoint_reaches_the_visitor_as_authd_wrote_it(site: Site, host: str, status: int) -> None:
    headers = (
        ("Location", "/wanted"),
        ("Set-Cookie", "CF_AUTHORIZATION=token; Path=/; Secure; HttpOnly"),
        ("Cache-Control", "no-store"),
        ("Content-Type", "text/html"),
    )
    page = b'authd <!--# include virtual="/mirror" -->'
    site.authd.program(endpoint=Reply(status, headers, page))
    answer = site.get(host, "/cdn-cgi/access/authorized?nonce=1")
    assert (answer.status, answer.body) == (status, page)
    for name, value in headers:
        assert answer.get_all(name) == [value]
    [request] = site.authd.seen
    assert (request.method, request.target) == ("GET", "/app/authorized?nonce=1")
    assert request.body == b""
    assert site.application.count == 0, "the one-time code was mirrored"


@pytest.mark.parametrize("host", HOSTS)
def test_the_check_is_what_we_wrote_and_nothing_of_the_operators(site: Site, host: str) -> None:
    assert site.get(host, "/x", session="good").status == 200
    [check] = site.authd.checks
    assert (check.start, check.body) == ("GET /auth HTTP/1.1", b"")
    assert check.get("X-Authd-Session") == "good"
    assert check.get("X-Operator") is None


@pytest.mark.parametrize("host", HOSTS)
def test_4_5_only_authds_word_makes_a_decision_last(site: Site, host: str) -> None:
    for status in (403, 500, 200):
        site.authd.program(check=Reply(status, IDENTITY if status == 200 else ()))
        site.get(host, "/never-kept", session="good")
        site.get(host, "/never-kept", session="good")
    assert len(site.authd.checks) == 6
    site.forget()
    site.authd.program(check=lambda request: Reply(200, (*IDENTITY, ("X-Accel-Expires", f"@{int(time.time()) + 9}"))))
    for _ in range(3):
        assert site.get(host, "/kept", session="good").status == 200
    assert len(site.authd.checks) == 1


@pytest.mark.parametrize("failure", [Reply(500), Reply(403), Reply(drop=True), Reply(200)])
def test_4_5_a_decision_that_has_ended_is_asked_for_anew_and_never_served_stale(site: Site, failure: Reply) -> None:
    """The ended answer is still in the cache, with all that a revalidation would need."""
    modified = ("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
    reply = Reply(200, (*IDENTITY, modified, ("ETag", '"1"'), ("X-Accel-Expires", f"@{int(time.time())}")))
    session = f"good-{failure.status}-{failure.drop}"
    site.authd.program(check=reply)
    assert site.get(HOSTS[0], "/x", session=session).status == 200
    time.sleep(1.05 - time.time() % 1)
    site.authd.seen.clear()
    site.application.seen.clear()
    site.authd.program(check=failure)
    site.get(HOSTS[0], "/x", session=session)
    assert site.application.count == (failure.status == 200 and not failure.drop)
    assert site.authd.checks
    for check in site.authd.checks:
        assert [name for name, _ in check.headers if name.startswith("If-")] == []


def test_4_5_equal_requests_are_asked_for_side_by_side(site: Site) -> None:
    """proxy_cache_lock would let the second wait for the first, and look again every half second."""
    both_arrived = threading.Barrier(2)

    def check(request: Message) -> Reply:
        both_arrived.wait(1)
        return Reply(200, IDENTITY)

    site.authd.program(check=check)
    with ThreadPoolExecutor(2) as visitors:
        answers = list(visitors.map(lambda _: site.get(HOSTS[0], "/lock", session="good-lock").status, range(2)))
    assert answers == [200, 200]


@pytest.mark.parametrize("host", HOSTS)
def test_a_dying_worker_is_retried_all_the_same(site: Site, host: str) -> None:
    replies = iter([Reply(drop=True), Reply(200, IDENTITY)])
    site.authd.program(check=lambda request: next(replies))
    assert site.get(host, "/x", session="good").status == 200
    assert len(site.authd.checks) == 2


@pytest.mark.parametrize("host", HOSTS)
def test_an_endpoint_survives_a_dying_worker_too(site: Site, host: str) -> None:
    replies = iter([Reply(drop=True), Reply(200, body=b"keys")])
    site.authd.program(endpoint=lambda request: next(replies))
    assert site.get(host, "/cdn-cgi/access/certs").text == "keys"


@pytest.mark.parametrize("host", HOSTS)
def test_an_endpoint_gets_the_visitors_form_and_not_the_operators_body(site: Site, host: str) -> None:
    form = b"everywhere=1&x=" + b"y" * 40_000
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    assert site.get(host, "/cdn-cgi/access/logout", method="POST", headers=headers, body=form).status == 200
    [request] = site.authd.seen
    assert (request.method, request.body) == ("POST", form)
