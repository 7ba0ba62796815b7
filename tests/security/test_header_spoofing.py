"""What a visitor writes into headers decides nothing, and reaches the application under no name of authd's.

Attacks.md 1.1, 1.3, 1.4, 1.6, 1.7, 1.10. The judges are the decision and what the application saw.
"""

from __future__ import annotations

import itertools

import pytest

from tests.harness.raw_http import Message
from tests.harness.stack import Stack
from tests.security.wire import Visitor, render, seen_headers, send

OURS = ("Cf-Access-Jwt-Assertion", "Cf-Access-Authenticated-User-Email", "X-Authd-User", "X-Authd-Groups")
CREDENTIALS = ("Cf-Access-Token", "Cf-Access-Client-Id", "Cf-Access-Client-Secret")
DESCRIPTIONS = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
FOR_THE_CHECK = tuple(f"X-Original-{name}" for name in ("Url", "Uri", "Method", "Host", "Path")) + tuple(
    f"X-Authd-{name}" for name in ("App", "Scope", "Session", "Secret", "Check", "Set-Cookie")
)
IDENTITY_OF_OTHERS = (
    *(f"X-Forwarded-{name}" for name in ("User", "Email", "Groups", "Access-Token", "Preferred-Username")),
    *(f"X-Auth-Request-{name}" for name in ("User", "Email", "Groups", "Access-Token", "Preferred-Username")),
    *(f"Remote-{name}" for name in ("User", "Groups", "Email", "Name")),
    *("X-Auth-User", "X-Remote-User", "X-WebAuth-User"),
)
ROUTING = (
    "X-Original-URL",
    "X-Original-URI",
    "X-Rewrite-URL",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Path",
)
ADDRESSES_OF_OTHERS = ("Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP")
REST = (
    *(f"X-Forwarded-{name}" for name in ("Port", "Method", "Server", "Scheme", "Ssl")),
    *("X-HTTP-Method-Override", "X-Accel-Redirect", "X-Accel-Expires", "Ssl-Client-Verify", "Ssl-Client-S-Dn"),
)
EVERY_NAME = (
    *OURS,
    *CREDENTIALS,
    *DESCRIPTIONS,
    *FOR_THE_CHECK,
    *IDENTITY_OF_OTHERS,
    *ROUTING,
    *ADDRESSES_OF_OTHERS,
    *REST,
)


def spellings(name: str) -> tuple[str, ...]:
    """Alone, and as applications fold names: CGI and WSGI take `_` for `-`, PHP `.` as well."""
    return (name, name.lower(), name.replace("-", "_"), name.replace("-", "_", 1), name.replace("-", "."))


def folded(name: str) -> str:
    return name.upper().replace("-", "_").replace(".", "_")


def values_seen(answer: Message | None, *names: str) -> dict[str, list[str]]:
    """What the application would find under these names, however it folds them."""
    headers = seen_headers(answer)
    return {name: [value for found, value in headers if folded(found) == folded(name)] for name in names}


@pytest.mark.parametrize("value", ["/public", "127.0.0.2", "https://paths.test/public", "root@example.com", "OPTIONS"])
def test_no_header_opens_a_closed_door(stack: Stack, nobody: Visitor, value: str) -> None:
    """Every name in every spelling, in as many at once as fit into a request."""
    every = [(name, value) for name in dict.fromkeys(itertools.chain(*map(spellings, EVERY_NAME)))]
    before = stack.application.count
    for host, target in (("grafana.test", "/"), ("paths.test", "/admin"), ("local.test", "/")):
        for start in range(0, len(every), 80):
            answer = nobody.ask(host, target, every[start : start + 80])
            assert answer is None or answer.status in (302, 400, 401, 403), (host, answer.status)
    assert stack.application.count == before


def test_each_header_alone_opens_nothing(nobody: Visitor) -> None:
    """Together they might hide one another."""
    for name in (*FOR_THE_CHECK, *DESCRIPTIONS, *ROUTING, *ADDRESSES_OF_OTHERS, *REST):
        assert nobody.reaches("paths.test", "/admin", [(name, "/public")]) is None


PUBLISHED: dict[str, list[tuple[str, str]]] = {
    "authentik's own prefix": [("X-Original-URI", "/outpost.goauthentik.io/anything")],
    "our own prefix": [
        ("X-Original-URL", "https://grafana.test/cdn-cgi/access/certs"),
        ("X-Original-URI", "/cdn-cgi/access/"),
    ],
    "oauth2-proxy's skipped path": [("X-Forwarded-Uri", "/public")],
    "a load balancer's probe": [("User-Agent", "GoogleHC/1.0")],
    "Kubernetes' probe": [("User-Agent", "kube-probe/1.29")],
    "Amazon's probe": [("User-Agent", "ELB-HealthChecker/2.0")],
    "cloudflared": [("User-Agent", "cloudflared/2026.1"), ("Cf-Access-Token", "")],
    "another application": [("X-Authd-App", "public"), ("X-Original-Path", "/public")],
    "a preflight": [("X-Original-Method", "OPTIONS"), ("Origin", "x"), ("Access-Control-Request-Method", "GET")],
    "another method": [("Content-Length", "0"), ("X-HTTP-Method-Override", "OPTIONS")],
    "h2c": [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AA")],
    "a WebSocket": [("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Key", "AA==")],
    "a body that waits": [("Expect", "100-continue"), ("Content-Length", "5")],
    "a part": [("Range", "bytes=0-1"), ("If-None-Match", "*")],
    "an assertion": [("Cf-Access-Jwt-Assertion", "eyJ.eyJ.x"), ("X-Authd-Session", "eyJ.eyJ.x")],
    "a second host": [("Host", "open.test")],
    "a folded line": [("X-A", "b\r\n X-Authd-User: root")],
    "a space before the colon": [("X-Authd-User ", "root")],
    "two lengths": [("Transfer-Encoding", "chunked"), ("Content-Length", "5")],
    "a line feed alone": [("X-A", "b\nX-Original-URL: https://open.test/\nX-Authd-App: open")],
}


@pytest.mark.parametrize("headers", PUBLISHED.values(), ids=PUBLISHED)
def test_the_inputs_of_published_bypasses(nobody: Visitor, headers: list[tuple[str, str]]) -> None:
    assert nobody.reaches("grafana.test", "/", headers) is None
    assert nobody.reaches("paths.test", "/admin", headers) is None


def test_identity_headers_at_the_application_are_authds(alice: Visitor) -> None:
    truth = values_seen(alice.ask("grafana.test", "/"), *OURS)
    assert truth["Cf-Access-Authenticated-User-Email"] == ["alice@example.com"]
    assert truth["X-Authd-Groups"] == ["staff,admins"]
    for name in OURS:
        for spelling in spellings(name):
            forged = alice.ask("grafana.test", "/", [(spelling, "root@example.com"), (spelling, "admins")])
            assert values_seen(forged, *OURS) == truth, spelling
    others = [name for name in CREDENTIALS[1:] if not name.lower().startswith("cf-access-client-")]
    every = [(spelling, "root") for name in (*OURS, *others) for spelling in spellings(name)]
    assert values_seen(alice.ask("grafana.test", "/", every), *OURS) == truth


def test_credentials_of_a_machine_are_judged_alone_and_in_no_other_spelling(alice: Visitor) -> None:
    """Strict mode: a good cookie does not make up for a wrong secret."""
    for name in ("Cf-Access-Client-Id", "Cf-Access-Client-Secret"):
        assert alice.ask("grafana.test", "/", [(name, "root")]).status == 401
        assert alice.ask("grafana.test", "/", [(name.replace("-", "_"), "root")]).status == 200


def test_where_authd_names_nobody_nobody_is_named(nobody: Visitor) -> None:
    """A bypassed request has no identity, whatever came with it (Caddy's CVE-2026-30851)."""
    for name in (*OURS, *CREDENTIALS):
        for spelling in spellings(name):
            answer = nobody.ask("open.test", "/", [(spelling, "root@example.com")])
            assert values_seen(answer, name) == {name: []}, spelling


@pytest.mark.parametrize("connection", ["Connection", "connection", "Proxy-Connection", "Keep-Alive", "TE", "Trailer"])
def test_a_header_cannot_be_named_away(alice: Visitor, connection: str) -> None:
    """Traefik's CVE-2024-45410 and Oathkeeper's: `Connection: X-Real-Ip` deleted what the proxy had set."""
    names = (*OURS, *DESCRIPTIONS)
    honest = values_seen(alice.ask("grafana.test", "/"), *names)
    for name in names:
        answer = alice.ask("grafana.test", "/", [(connection, f"close, {name}, {name.lower()}")])
        assert values_seen(answer, *names) == honest


def test_trailers_become_no_headers(stack: Stack, alice: Visitor) -> None:
    """Traefik's CVE-2026-88004."""
    trailers = "".join(f"{name}: root@example.com\r\n" for name in (*OURS, "X-Forwarded-User"))
    chunked = [("Cookie", alice.cookies["grafana.test"]), ("Transfer-Encoding", "chunked")]
    head = render("/", "grafana.test", chunked, "POST")
    answer = send(stack, "grafana.test", head + b"1\r\nx\r\n0\r\n" + trailers.encode() + b"\r\n")
    found = values_seen(answer, "Cf-Access-Authenticated-User-Email", "X-Forwarded-User")
    assert found == {"Cf-Access-Authenticated-User-Email": ["alice@example.com"], "X-Forwarded-User": []}


def test_the_visitors_address_is_the_connections(stack: Stack, nobody: Visitor) -> None:
    """local.test is open to 127.0.0.2 alone, and a visitor from there proves that the rule works."""
    for name in (*DESCRIPTIONS, *ADDRESSES_OF_OTHERS):
        for value in ("127.0.0.2", "127.0.0.2, 127.0.0.1", "for=127.0.0.2", "a", "1" * 7000):
            assert nobody.reaches("local.test", "/", [(name, value)]) is None
    assert stack.browser(source_address="127.0.0.2").request(stack.url("local.test")).status == 200
    claims = [(name, "9.9.9.9") for name in ("X-Forwarded-For", "X-Real-IP", *ADDRESSES_OF_OTHERS)]
    found = values_seen(nobody.ask("open.test", "/", claims), *(name for name, _ in claims))
    assert found.pop("X-Real-IP") == found.pop("X-Forwarded-For") == ["127.0.0.1"]
    assert found == {name: [] for name in ADDRESSES_OF_OTHERS}


def test_no_header_moves_the_application_to_another_path(nobody: Visitor) -> None:
    """Symfony's CVE-2018-14773, IIS: `X-Original-URL: /admin` on `/public`, and the framework serves `/admin`."""
    for name in ROUTING:
        answer = nobody.ask("paths.test", "/public", [(name, "/admin")])
        assert values_seen(answer, name) == {name: []}


def test_no_identity_for_another_proxy_passes(nobody: Visitor, alice: Visitor) -> None:
    """Applications that once stood behind another proxy still read its headers, and nobody sets them any more."""
    for visitor, host in ((nobody, "open.test"), (alice, "grafana.test")):
        answer = visitor.ask(host, "/", [(name, "root@example.com") for name in IDENTITY_OF_OTHERS])
        assert values_seen(answer, *IDENTITY_OF_OTHERS) == {name: [] for name in IDENTITY_OF_OTHERS}
