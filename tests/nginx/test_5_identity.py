"""The identity that reaches an application over HTTP (reference/nginx-contract.md, section 5)."""

from __future__ import annotations

import socket

import pytest

from tests.harness.echo import parse_echo
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Reply, read_message
from tests.harness.standin import IDENTITY

pytestmark = pytest.mark.nginx

HTTP = (
    # What some old application once needed; authd-server.conf takes it back for its host.
    "proxy_set_header X-From-Http yes; underscores_in_headers on; ignore_invalid_headers off;\n"
    + render_server(
        "app.example.com",
        f"""
    proxy_set_header X-From-Server yes;
    location / {{ set $authd_app app; {PROTECTED} }}
    location /cookie/ {{ set $authd_app app; {PROTECTED} include authd/authd-cookie.conf; }}
    location /more/ {{ set $authd_app app; {PROTECTED} proxy_set_header X-Own yes; }}
    location /tries/ {{ set $authd_app app; include authd/authd-protect.conf; try_files /missing @tried; }}
    location @tried {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    location /identified/ {{
        set $authd_app app; {PROTECTED} proxy_set_header X-Request-Id $request_id;
    }}
    location /public/ {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    location /forgotten/ {{ set $authd_app app; include authd/authd-protect.conf; proxy_pass http://{{app}}; }}
    location ~ ^/captures/([a-z]+)/(.*)$ {{
        set $authd_app app; {PROTECTED} include authd/authd-cookie.conf; proxy_set_header X-Captures "$1 $2";
    }}
""",
    )
    + render_server(
        "whole.example.com",
        """
    include authd/authd-protect.conf;
    location / { include authd/authd-identity.conf; proxy_pass http://{app}; }
    location /own-set/ {
        auth_request_set $mine $upstream_http_x_mine;
        include authd/authd-identity.conf;
        proxy_pass http://{app};
    }
""",
    )
    + render_server(
        "~^(?<team>[a-z]+)-([a-z]+)[.]captured[.]example[.]com$",
        f"""
    location / {{ set $authd_app app; {PROTECTED} proxy_set_header X-Captures "$team $2"; }}
""",
    )
    + render_server(
        "any.example.com",
        f"location / {{ set $authd_app app; satisfy any; allow 127.0.0.1; deny all; {PROTECTED} }}",
    )
)
NAMES = [name for name, _ in IDENTITY]
FORGED = [
    *[(name, "forged") for name in NAMES],
    *[(name.lower(), "forged") for name in NAMES],
    *[(name.replace("-", "_"), "forged") for name in NAMES],
    ("X-Authd_User", "forged"),
    ("X_Authd-User", "forged"),
    ("X.Authd.User", "forged"),
]
CREDENTIALS = [("Cf-Access-Token", "t"), ("Cf-Access-Client-Id", "i"), ("Cf-Access-Client-Secret", "s")]


def reached(site: Site, target: str, *, headers: list[tuple[str, str]], host: str = "app.example.com"):  # type: ignore[no-untyped-def]
    return parse_echo(site.get(host, target, session="good", headers=headers))


def identity(request) -> dict[str, str | None]:  # type: ignore[no-untyped-def]
    return {name: request.get(name) for name in NAMES}


@pytest.mark.parametrize("target", ["/x", "/tries/x", "/more/x", "/cookie/x"])
def test_5_1_the_application_learns_who_it_is_and_nothing_that_was_forged(site: Site, target: str) -> None:
    request = reached(site, target, headers=FORGED)
    assert identity(request) == dict(IDENTITY)
    assert "forged" not in str(request)


def test_5_1_an_auth_request_set_of_the_operators_takes_the_identity_away_but_forges_none(site: Site) -> None:
    """Theirs in the location, ours at the server: nginx inherits all of them or none."""
    assert identity(reached(site, "/x", headers=FORGED, host="whole.example.com")) == dict(IDENTITY)
    request = reached(site, "/own-set/x", headers=FORGED, host="whole.example.com")
    assert identity(request) == dict.fromkeys(NAMES)
    assert "forged" not in str(request)


def test_5_1_and_still_lets_nobody_in(site: Site) -> None:
    assert site.get("whole.example.com", "/own-set/x").status == 401
    assert site.application.count == 0


def test_5_2_without_the_include_a_forged_identity_passes(site: Site) -> None:
    """Why authd-identity.conf goes into every location that proxies."""
    assert reached(site, "/forgotten/x", headers=[("X-Authd-User", "forged")]).get("X-Authd-User") == "forged"


def test_5_2_the_include_replaces_headers_of_the_levels_above_and_sets_host_itself(site: Site) -> None:
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Host", "evil")]
    request = reached(site, "/x", headers=headers)
    assert (request.get("X-From-Http"), request.get("X-From-Server")) == (None, None)
    assert request.get("Host") == request.get("X-Forwarded-Host") == f"app.example.com:{site.port}"
    assert request.get("X-Forwarded-For") == request.get("X-Real-IP") == "127.0.0.1"
    assert request.get("X-Forwarded-Proto") == "http"


def test_5_2_no_visitor_chooses_the_id_of_a_request(site: Site) -> None:
    request = reached(site, "/x", headers=[("X-Request-Id", "chosen-by-the-visitor")])
    assert request.get("X-Request-Id") is None
    assert site.authd.checks[0].get("X-Request-Id") not in (None, "chosen-by-the-visitor")


def test_5_2_an_application_gets_the_id_that_authd_gets_by_a_line_beside(site: Site) -> None:
    request = reached(site, "/identified/x", headers=[("X-Request-Id", "chosen-by-the-visitor")])
    assert request.get_all("X-Request-Id") == [site.authd.checks[0].get("X-Request-Id")]


@pytest.mark.parametrize("empty", NAMES)
def test_5_3_a_name_that_authd_leaves_empty_is_absent(site: Site, empty: str) -> None:
    site.authd.program(check=Reply(200, tuple(pair for pair in IDENTITY if pair[0] != empty)))
    assert identity(reached(site, "/x", headers=FORGED)) == {**dict(IDENTITY), empty: None}


@pytest.mark.parametrize(("host", "target"), [("app.example.com", "/public/x"), ("any.example.com", "/x")])
def test_5_3_where_nobody_was_asked_nobody_is_named(site: Site, host: str, target: str) -> None:
    request = reached(site, target, headers=FORGED, host=host)
    assert identity(request) == dict.fromkeys(NAMES)
    assert site.authd.count == 0


def test_5_3_a_trailer_forges_nothing(site: Site) -> None:
    head = "POST /x HTTP/1.1\r\nHost: app.example.com\r\nCookie: CF_AUTHORIZATION=good\r\nTE: trailers\r\n"
    head += "Trailer: X-Authd-User\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = site.send(f"{head}1\r\nx\r\n0\r\nX-Authd-User: forged\r\n\r\n".encode())
    assert answer is not None
    assert identity(parse_echo(answer)) == dict(IDENTITY)
    assert site.application.last.body == b"x"


@pytest.mark.parametrize("named", NAMES)
def test_5_3_connection_cannot_take_a_header_away(site: Site, named: str) -> None:
    assert identity(reached(site, "/x", headers=[("Connection", f"close, {named}")])) == dict(IDENTITY)


def test_credentials_for_authd_do_not_reach_the_application_and_others_do(site: Site) -> None:
    basic = ("Authorization", "Basic amVua2luczpzZWNyZXQ=")
    request = reached(site, "/x", headers=[*CREDENTIALS, basic])
    assert [request.get(name) for name, _ in CREDENTIALS] == [None] * 3
    assert request.get("Authorization") == basic[1]


def test_5_4_a_websocket_is_opened_and_carries_data(site: Site) -> None:
    lines = [
        "GET /socket HTTP/1.1",
        "Host: app.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Cookie: CF_AUTHORIZATION=good",
    ]
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with connection.makefile("rb") as stream:
            answer = read_message(stream)
            assert answer is not None
            assert (answer.status, answer.get("Upgrade")) == (101, "websocket")
            connection.sendall(b"hello")
            assert stream.read(5) == b"hello"
    assert identity(site.application.last) == dict(IDENTITY)
    assert site.application.last.get("Connection") == "upgrade"
    assert site.application.last.start.endswith("HTTP/1.1")


@pytest.mark.parametrize("token", ["websocket", "WebSocket", "WEBSOCKET"])
def test_5_4_the_name_is_read_without_regard_to_case(site: Site, token: str) -> None:
    assert site.get("app.example.com", "/x", session="good", headers=[("Upgrade", token)]).status == 101


@pytest.mark.parametrize("token", ["h2c", "h2c, websocket", "websocket, h2c", "HTTP/2.0", "TLS/1.0", "tcp"])
def test_5_4_nothing_but_a_websocket_is_upgraded(site: Site, token: str) -> None:
    """With `Upgrade: h2c` an application would open a tunnel in which nobody is asked."""
    headers = [("Upgrade", token), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABk")]
    request = reached(site, "/x", headers=headers)
    assert (request.get("Upgrade"), request.get("Connection")) == (None, None)


def test_5_4_a_websocket_of_a_stranger_reaches_the_challenge_only(site: Site) -> None:
    headers = [("Upgrade", "websocket"), ("Sec-Fetch-Mode", "websocket")]
    assert site.get("app.example.com", "/socket", headers=headers).status == 302
    [challenge] = site.authd.challenges
    assert (challenge.get("Upgrade"), challenge.get("Sec-Fetch-Mode")) == ("websocket", "websocket")
    assert site.application.count == 0


def test_5_6_captures_of_the_location_survive(site: Site) -> None:
    request = reached(site, "/captures/abc/def", headers=[("Cookie", "a=1")])
    assert request.get("X-Captures") == "abc def"


def test_5_6_captures_of_the_servers_name_survive(site: Site) -> None:
    """Also those by number, which any regular expression of ours that matches in the request would reset."""
    request = reached(site, "/x", headers=[], host="ada-lovelace.captured.example.com")
    assert request.get("X-Captures") == "ada lovelace"


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        (None, "CF_Authorization=header.payload.signature"),
        (
            "theme=dark; CF_Authorization=stale",
            "CF_Authorization=header.payload.signature; theme=dark; CF_Authorization=stale",
        ),
    ],
)
def test_5_7_the_opt_in_cookie_stands_in_front(site: Site, cookies: str | None, expected: str) -> None:
    site.authd.program(check=Reply(200, IDENTITY))
    headers = [("Cookie", cookies)] if cookies else []
    assert parse_echo(site.get("app.example.com", "/cookie/x", headers=headers)).get("Cookie") == expected


@pytest.mark.parametrize("cookies", [None, "theme=dark"])
def test_5_7_without_a_token_the_cookies_pass_as_they_are(site: Site, cookies: str | None) -> None:
    site.authd.program(check=Reply(200))
    headers = [("Cookie", cookies)] if cookies else []
    assert parse_echo(site.get("app.example.com", "/cookie/x", headers=headers)).get("Cookie") == cookies


CHECK_HEADERS = {
    "Host",
    "X-Authd-App",
    "X-Authd-Scope",
    "X-Authd-Session",
    "X-Original-Method",
    "X-Original-Url",
    "X-Original-Path",
    "X-Real-Ip",
    "X-Request-Id",
    "Cookie",
    "Origin",
    "Access-Control-Request-Method",
    "Cf-Access-Jwt-Assertion",
    "Cf-Access-Token",
    "Cf-Access-Client-Id",
    "Cf-Access-Client-Secret",
    "Authorization",
    "X-Authd-Token-From",
}
CHALLENGE_HEADERS = CHECK_HEADERS - {"X-Authd-Token-From"} | {
    "Accept",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Site",
    "X-Requested-With",
    "Upgrade",
    "User-Agent",
    "Access-Control-Request-Headers",
    "X-Authd-Check",
    "X-Original-Host",
    "Cf-Access-Metadata-Request",
}
ENDPOINT_HEADERS = CHALLENGE_HEADERS - {
    "X-Authd-App",
    "X-Authd-Scope",
    "X-Authd-Session",
    "X-Authd-Check",
    "Cf-Access-Jwt-Assertion",
    "Cf-Access-Client-Id",
    "Cf-Access-Client-Secret",
    "Authorization",
} | {"Content-Type", "Content-Length"}
EVERYTHING = [
    (name, "visitor")
    for name in sorted(
        CHALLENGE_HEADERS | {"X-Forwarded-For", "X-Authd-Secret", "Ssl-Client-Verify", "Te", "Content-Type"}
    )
    if name not in ("Host", "Cookie", "Content-Length")
]
OWN = {"Host", "X-Authd-App", "X-Authd-Scope", "X-Authd-Session", "X-Authd-Check", "X-Real-Ip", "X-Request-Id"}


@pytest.mark.parametrize(
    ("target", "session", "expected"),
    [
        ("/x", "good", CHECK_HEADERS),
        ("/x", "denied", CHALLENGE_HEADERS),
        ("/cdn-cgi/access/get-identity", "good", ENDPOINT_HEADERS),
    ],
)
def test_authd_is_told_these_headers_and_no_others(site: Site, target: str, session: str, expected: set[str]) -> None:
    site.get("app.example.com", target, session=session, headers=EVERYTHING)
    request = site.authd.last
    assert {name for name, _ in request.headers} == expected
    for name, value in request.headers:
        is_nginx_own = name in OWN or name.startswith("X-Original-")
        assert (value != "visitor") if is_nginx_own else True, name
