"""Other locations beside authd's, lockdown, HTTP/2 and long URLs (reference/nginx-contract.md, section 6)."""

from __future__ import annotations

import pytest

from tests.harness.http2 import send_http2
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Reply

pytestmark = pytest.mark.nginx

_PROXY = "include authd/authd-identity.conf; proxy_pass http://{app};"
_WHOLE = f"""
    include authd/authd-protect.conf;
    location / {{ {_PROXY} }}
    location ~ \\.php$ {{ {_PROXY} }}
    location = /favicon.ico {{ auth_request off; return 204; }}
    location ^~ /.well-known/acme-challenge/ {{ auth_request off; root {{directory}}/acme; }}
"""
HTTP = (
    render_server("whole.example.com", _WHOLE)
    + render_server("locked.example.com", f"location / {{ set $authd_app app; {PROTECTED} deny all; }}")
    + render_server("locked-444.example.com", f"if ($authd_port) {{ return 444; }} {_WHOLE}")
    + render_server("outside.example.com", f"satisfy any; allow 192.0.2.1; deny all; {_WHOLE}")
    + render_server("inside.example.com", f"satisfy any; allow 127.0.0.1; deny all; {_WHOLE}")
    + "server { listen 127.0.0.1:{port}; server_name auth.example.com; include authd/authd-team.conf; }"
    + "server { listen 127.0.0.1:{port} default_server; large_client_header_buffers 4 32k; return 444; }"
    + render_server(
        "h2.example.com", f"location / {{ set $authd_app app; {PROTECTED} }}", listen="127.0.0.1:{http2_port} http2"
    )
)
HOST = "whole.example.com"


@pytest.fixture(scope="module", autouse=True)
def files(module_site: Site) -> None:
    folder = module_site.nginx.directory / "acme/.well-known/acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("the challenge's answer")


@pytest.mark.parametrize("name", ["authorized", "logout", "get-identity", "certs", "style.css"])
def test_6_1_the_endpoints_are_reached_on_a_host_that_is_protected_as_a_whole(site: Site, name: str) -> None:
    answer = site.get(HOST, f"/cdn-cgi/access/{name}?a=%26&b=c+d")
    assert answer.text == f"authd /app/{name}?a=%26&b=c+d"
    assert answer.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert site.authd.last.get("X-Original-Path") == f"/cdn-cgi/access/{name}"
    assert site.authd.checks == []


@pytest.mark.parametrize(
    "name",
    ["", "x.php", "metrics", "authorized/x", "authorized.php", "../access/nothing", "..;/metrics", "login/x"],
)
def test_6_1_nothing_else_under_the_prefix_reaches_authd_or_the_application(site: Site, name: str) -> None:
    assert site.get(HOST, f"/cdn-cgi/access/{name}", session="good").status == 404
    assert (site.authd.count, site.application.count) == (0, 0)


@pytest.mark.parametrize("target", ["/cdn-cgi/access/../metrics", "/cdn-cgi/access/..%2fmetrics", "/cdn-cgi/accessx"])
def test_6_1_what_only_looks_like_the_prefix_is_protected(site: Site, target: str) -> None:
    assert site.get(HOST, target).status == 302
    assert [request.target for request in site.authd.seen] == ["/auth", "/challenge"]


def test_6_2_locations_of_the_operators_are_open_where_they_say_so(site: Site) -> None:
    assert site.get(HOST, "/favicon.ico").status == 204
    assert site.get(HOST, "/.well-known/acme-challenge/token").text == "the challenge's answer"
    assert site.authd.count == 0


@pytest.mark.parametrize(
    "target",
    [
        "/.well-known/acme-challenge/../../x",
        "/.well-known/acme-challenge/..%2f..%2fx",
        "/.well-known/acme-challenge/%2e%2e/%2e%2e/x",
        "/.well-known//acme-challenge/.././../x",
    ],
)
def test_6_2_nobody_climbs_out_of_an_open_location(site: Site, target: str) -> None:
    assert site.get(HOST, target).status == 302
    assert site.authd.checks[0].get("X-Original-Path") == "/x"
    assert site.application.count == 0


def test_6_3_satisfy_any_lets_the_inside_in_without_asking(site: Site) -> None:
    assert site.get("inside.example.com", "/x").status == 200
    assert site.authd.count == 0


def test_6_3_satisfy_any_makes_login_impossible_from_outside_and_opens_nothing(site: Site) -> None:
    """The endpoints inherit the deny. docs/nginx.md says what to write where login is wanted."""
    assert site.get("outside.example.com", "/cdn-cgi/access/authorized").status == 403
    assert site.get("outside.example.com", "/x").status in (401, 403)
    assert site.application.count == 0
    assert site.get("outside.example.com", "/x", session="good").status == 200


def test_6_4_lockdown_by_deny_is_nginx_own_403_for_everybody(site: Site) -> None:
    assert b"nginx" in site.get("locked.example.com", "/x").body
    assert site.get("locked.example.com", "/x", session="good").status == 403
    assert site.authd.challenges == []


def test_6_4_lockdown_by_444_closes(site: Site) -> None:
    assert site.send(b"GET / HTTP/1.1\r\nHost: locked-444.example.com\r\n\r\n") is None
    assert site.authd.count == 0


@pytest.mark.parametrize("cookie", ["", "CF_AUTHORIZATION=good", "CF_AUTHORIZATION=denied"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_6_5_http2_asks_and_answers_as_http1_does(site: Site, method: str, cookie: str) -> None:
    fields = [(":method", method), (":scheme", "http"), (":path", "/x?y"), (":authority", "h2.example.com")]
    fields += [("cookie", cookie)] if cookie else []
    assert send_http2(site.http2_port, fields) == "answered"
    [check] = site.authd.checks
    assert check.get("X-Original-Method") == method
    assert check.get("X-Original-Url") == f"http://h2.example.com:{site.http2_port}/x?y"
    assert site.application.count == (cookie == "CF_AUTHORIZATION=good")
    assert [request.get("X-Original-Host") for request in site.authd.challenges] in ([], ["h2.example.com"])


@pytest.mark.parametrize("size", [1000, 4000, 7900])
def test_6_6_a_long_url_is_asked_for_whole_and_its_login_link_fits(site: Site, size: int) -> None:
    target = "/x?q=" + "%26" * (size // 3)
    location = ("Location", "https://auth.example.com/cdn-cgi/access/login/x?redirect_url=" + "%2526" * (size // 3))
    site.authd.program(challenge=Reply(302, (location,)))
    answer = site.get(HOST, target)
    assert (answer.status, answer.get("Location")) == (302, location[1])
    assert (site.authd.checks[0].get("X-Original-Url") or "").endswith(target)


def test_6_6_the_team_host_takes_a_login_link_of_12_kb(site: Site) -> None:
    target = "/cdn-cgi/access/login/whole.example.com?kid=1&redirect_url=%2F" + "%2526" * 2400
    assert len(target) > 12_000
    answer = site.get("auth.example.com", target)
    assert answer.text == "authd " + target.replace("/cdn-cgi/access/", "/team/")


@pytest.mark.parametrize(
    ("target", "arrives"),
    [
        ("/", "/team/"),
        ("/cdn-cgi/access/callback?code=a%2Fb&state=c", "/team/callback?code=a%2Fb&state=c"),
        ("/cdn-cgi/access/login/app.example.com?kid=1", "/team/login/app.example.com?kid=1"),
        ("/cdn-cgi/access/logout", "/team/logout"),
        ("/cdn-cgi/access/certs", "/team/certs"),
        ("/cdn-cgi/access/get-identity", "/team/get-identity"),
        ("/cdn-cgi/access/style.css", "/team/style.css"),
    ],
)
def test_the_team_host_gives_authd_its_paths(site: Site, target: str, arrives: str) -> None:
    assert site.get("auth.example.com", target).text == f"authd {arrives}"
    assert site.authd.last.get("X-Original-Url") == f"http://auth.example.com:{site.port}{target}"
    assert site.authd.last.get("X-Original-Path") == target.partition("?")[0]


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/auth",
        "/team/callback",
        "/app/authorized",
        "/cdn-cgi/access/login/",
        "/cdn-cgi/access/login/a/b",
        "/cdn-cgi/access/login/a%2f..%2f..%2fmetrics",
        "/cdn-cgi/access/login/a%3fb",
        "/cdn-cgi/access/login/a%0ab",
        "/cdn-cgi/access/authorized",
        "/%2e%2e/metrics",
    ],
)
def test_the_team_host_gives_authd_nothing_else(site: Site, target: str) -> None:
    assert site.get("auth.example.com", target).status in (400, 404)
    assert site.authd.count == 0


def test_the_team_host_says_when_authd_is_gone(site: Site) -> None:
    site.authd.program(endpoint=Reply(drop=True))
    answer = site.get("auth.example.com", "/")
    assert (answer.status, answer.get("Retry-After")) == (503, "5")
