"""A line feed in the path must not become a header of the check.

`$uri` is decoded: `/x%0aX-Authd-Session:%20stolen` would end the line of `X-Original-Path` and begin one that
authd believes, since nothing but the snippet can write those names.
"""

from __future__ import annotations

import pytest

from tests.harness.http2 import send_http2
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Reply

pytestmark = pytest.mark.nginx

_NAIVE = """
server {
    listen 127.0.0.1:{port};
    server_name naive.example.com;
    location = /.authd/check {
        internal;
        proxy_pass http://authd/auth;
        proxy_pass_request_headers off;
        proxy_set_header X-Original-Path $naive_path;
    }
    location / {
        set $naive_path $uri;
        auth_request /.authd/check;
        proxy_pass http://{app};
    }
}
"""
_MISPLACED = 'if ($uri ~ "^/late/") { break; }'
HTTP = (
    _NAIVE
    + render_server(
        "app.example.com",
        f"""
    location / {{ set $authd_app app; {PROTECTED} }}
    location /go {{ rewrite ^ $arg_to last; }}
    location /go-break {{ set $authd_app app; {PROTECTED} rewrite ^ $arg_to break; }}
    location ~ ^/named/([^/]+)/ {{ set $authd_app $1; {PROTECTED} }}
    location /captured/ {{ rewrite ^/captured/(.*)$ /x/$1 last; }}
    location /errors/ {{ set $authd_app app; {PROTECTED} error_page 404 = /again$uri; proxy_intercept_errors on; }}
    location /files/ {{ internal; set $authd_app app; {PROTECTED} }}
""",
    )
    + render_server("misplaced.example.com", f"location / {{ set $authd_app app; {PROTECTED} }}", before=_MISPLACED)
    + render_server(
        "http2.example.com", f"location / {{ set $authd_app app; {PROTECTED} }}", listen="127.0.0.1:{http2_port} http2"
    )
)
INJECTED = "X-Authd-Session:%20stolen%0aX-Real-Ip:%20192.0.2.1"
TWICE = INJECTED.replace("%", "%25")


def assert_nothing_injected(site: Site) -> None:
    assert all("stolen" not in (request.get("X-Authd-Session") or "") for request in site.authd.seen)
    for request in site.authd.seen:
        names = [name for name, _ in request.headers]
        assert len(names) == len(set(names))
        assert request.get("X-Real-Ip") == "127.0.0.1"
        assert "\n" not in str([value for _, value in request.headers])


def test_in_a_naive_set_up_the_path_writes_headers_of_the_check(site: Site) -> None:
    """The hole itself: without it in front of one's eyes, the lines that close it look superfluous."""
    site.get("naive.example.com", f"/x%0a{INJECTED}")
    [check] = site.authd.checks
    assert check.get("X-Authd-Session") == "stolen"
    assert check.get("X-Real-Ip") == "192.0.2.1"


@pytest.mark.parametrize("escape", ["%0a", "%0A", "%0d%0a", "%0d", "%09", "%0b", "%0c", "%01", "%1f", "%7f", "%1b"])
@pytest.mark.parametrize("prefix", ["/x", "/captured/x", "/cdn-cgi/access/certs", "/.well-known/x"])
def test_a_control_character_in_the_path_is_a_bad_request(site: Site, prefix: str, escape: str) -> None:
    assert site.get("app.example.com", f"{prefix}{escape}{INJECTED}", session="good").status == 400
    assert (site.authd.count, site.application.count) == (0, 0)


@pytest.mark.parametrize("target", ["/x%00", "/x\x01", "/x\x7f", "/x\x0b", "/x%0", "/x%zz"])
def test_what_nginx_itself_refuses(site: Site, target: str) -> None:
    assert site.get("app.example.com", target).status == 400
    assert site.authd.count == 0


def test_in_a_query_a_line_feed_is_legitimate_and_stays_encoded(site: Site) -> None:
    assert site.get("app.example.com", f"/x?text=a%0a{INJECTED}", session="good").status == 200
    [check] = site.authd.checks
    assert check.get("X-Original-Url") == f"http://app.example.com:{site.port}/x?text=a%0a{INJECTED}"
    assert_nothing_injected(site)


@pytest.mark.parametrize(
    "target",
    [
        f"/go?to=/x%0a{INJECTED}",
        f"/go-break?to=/x%0a{INJECTED}",
        f"/errors/status/404?x=%0a{INJECTED}",
        f"/x%250a{TWICE}",
        f"/named/a%250a{TWICE}/x",
        f"/captured/x%250a{TWICE}",
        f"/x;%23%3f{TWICE}",
    ],
)
@pytest.mark.parametrize("session", ["", "good"])
def test_no_rewrite_of_the_operators_decodes_one_into_being(site: Site, target: str, session: str) -> None:
    site.get("app.example.com", target, session=session)
    assert site.authd.count
    assert_nothing_injected(site)


def test_x_accel_redirect_decodes_its_path_and_the_check_still_has_the_visitors(site: Site) -> None:
    site.application.handler, echo = (
        (lambda request: Reply(200, (("X-Accel-Redirect", f"/files/x%0a{INJECTED}"),))),
        site.application.handler,
    )
    try:
        site.get("app.example.com", "/x", session="good")
    finally:
        site.application.handler = echo
    assert {check.get("X-Original-Path") for check in site.authd.checks} == {"/x"}
    assert_nothing_injected(site)


@pytest.mark.parametrize("escape", ["%0a", "%0d%0a", "%7f"])
def test_where_a_rewrite_before_the_include_skips_the_guard_the_path_is_not_named_at_all(
    site: Site, escape: str
) -> None:
    """The guard is a line that an operator can get in front of; the map is not."""
    site.get("misplaced.example.com", f"/late/x{escape}{INJECTED}", session="good")
    assert [check.get("X-Original-Path") for check in site.authd.checks] == [None]
    assert_nothing_injected(site)


@pytest.mark.parametrize(
    ("target", "path"), [("/x%20", None), ("/x%20%20", None), ("/x%20y", "/x y"), ("/x%a0", "/x\xa0")]
)
def test_a_space_at_the_end_would_be_lost_on_the_way_and_is_not_named(
    site: Site, target: str, path: str | None
) -> None:
    """`/admin%20` must not be decided as `/admin`."""
    site.get("app.example.com", target)
    assert site.authd.checks[0].get("X-Original-Path") == path


PSEUDO = {":method": "GET", ":scheme": "http", ":path": "/x", ":authority": "http2.example.com"}
_LINE = "\r\nx-authd-session: stolen"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (":path", f"/x{_LINE}"),
        (":path", "/x\nx-authd-session: stolen"),
        (":path", "/x\x01"),
        (":path", "/x HTTP/1.1\r\nx-authd-session: stolen"),
        (":method", f"GET{_LINE}"),
        (":authority", f"http2.example.com{_LINE}"),
        ("cookie", f"a=b{_LINE}"),
        ("cookie", "a=b\nx-authd-session: stolen"),
        ("cookie", "a=b\x00"),
        ("accept", f"text/html{_LINE}"),
        ("accept\r\nx-authd-session", "stolen"),
        ("X-Authd-Session", "stolen"),
        ("authorization", f"x{_LINE}"),
    ],
)
def test_http2_cannot_carry_a_line_break_into_the_check(site: Site, name: str, value: str) -> None:
    fields = PSEUDO | {name: value}
    outcome = send_http2(site.http2_port, list(fields.items()))
    assert outcome in ("reset", "closed") or (outcome == "answered" and site.application.count == 0)
    assert_nothing_injected(site)


def test_http2_itself_works(site: Site) -> None:
    """Else the test above would prove nothing."""
    fields = PSEUDO | {"cookie": "CF_AUTHORIZATION=good"}
    assert send_http2(site.http2_port, list(fields.items())) == "answered"
    assert site.authd.checks[0].get("X-Authd-Session") == "good"
    assert site.application.count == 1
