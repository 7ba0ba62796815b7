"""authd's own addresses belong to nginx: nobody outside reaches them, on whatever host and however they write it."""

from __future__ import annotations

import os
import stat

import pytest

from tests.harness.stack import TEAM, Stack
from tests.security.wire import Visitor, render, send

INNER = [
    "/metrics",
    "/auth",
    "/readyz",
    "/healthz",
    "/challenge",
    "/forward-auth",
    "/team/",
    "/team/callback",
    "/team/login/grafana.test",
    "/team/get-identity",
    "/app/login",
    "/app/authorized",
    "/app/logout",
    "/app/get-identity",
    "/app/certs",
    "/.authd/check",
    "/.authd/challenge",
    "/.authd/unavailable.html",
    "/.authd/never",
]
SPELLINGS = [
    "{}",
    "/{}",
    "/.{}",
    "/x/..{}",
    "{}/",
    "{}%20",
    "{}?x=1",
    "/%2e{}",
    "/cdn-cgi/access/..{}",
    "/cdn-cgi/access{}",
    "/cdn-cgi/access/../..{}",
    "/cdn-cgi/access/%2e%2e{}",
    "/cdn-cgi/access/x/..%2f..{}",
    "{}#x",
    "{};x",
]
# What only authd's own answers hold.
MARKS = (b"authd_decisions_total", b'"status": "ok"', b'"status": "ready"', b"login_required", b'"problems"')


@pytest.mark.parametrize("host", ["grafana.test", "open.test", TEAM, "unknown.test"])
def test_no_inner_address_answers_from_outside(stack: Stack, nobody: Visitor, host: str) -> None:
    for path in INNER:
        for spelling in SPELLINGS:
            target = spelling.format(path)
            answer = nobody.ask(host, target)
            if answer is None:
                continue
            assert not any(mark in answer.body for mark in MARKS), target
            if host == "open.test" and answer.status == 200:
                assert b'"application": true' in answer.body or "/cdn-cgi/access" in target
            else:
                # /: the team host's own page, and what leads to it.
                assert answer.status in (302, 400, 401, 404) or (host == TEAM and answer.status == 200), (
                    target,
                    answer.status,
                )
            if host == TEAM and answer.status == 200:
                assert b"Your applications" in answer.body or b"font-family" in answer.body or b'"keys"' in answer.body


def test_a_host_that_nobody_named_gets_no_answer(stack: Stack, nobody: Visitor) -> None:
    before = stack.application.count
    for name in (
        "unknown.test",
        "127.0.0.1",
        "",
        "grafana.test.evil.test",
        "app@evil",
        "a,b",
        'a"b',
        "a\\b",
        "*.test",
        "_",
    ):
        answer = send(stack, "grafana.test", render("/", name))
        assert answer is None or answer.status == 400, name
    for request in (
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET http://evil.test/ HTTP/1.1\r\nHost: grafana.test\r\n\r\n",
    ):
        answer = send(stack, "grafana.test", request)
        assert answer is None or answer.status == 400
    assert stack.application.count == before


def test_one_name_of_a_host_is_as_closed_as_another(stack: Stack, nobody: Visitor, alice: Visitor) -> None:
    login = stack.url(TEAM, "/cdn-cgi/access/login/grafana.test?")
    for name in (
        "GRAFANA.TEST",
        "grafana.test.",
        "grafana.test:1",
        "grafana.test:99999",
        f"Grafana.Test.:{stack.port}",
    ):
        answer = nobody.ask("grafana.test", "/", name=name)
        assert answer is None or answer.status in (302, 400), name
        if answer is not None and answer.status == 302:
            assert (answer.get("Location") or "").startswith(login), name
        admin = alice.ask("paths.test", "/admin", name=name.lower().replace("grafana", "PATHS"))
        assert admin is None or admin.status in (302, 400, 403), name


def test_the_endpoints_of_one_side_do_not_answer_on_the_other(stack: Stack, nobody: Visitor) -> None:
    for host, target in (
        ("grafana.test", "/cdn-cgi/access/callback"),
        ("grafana.test", "/cdn-cgi/access/login/grafana.test"),
        ("grafana.test", "/cdn-cgi/access/login/"),
        (TEAM, "/cdn-cgi/access/authorized"),
        (TEAM, "/cdn-cgi/access/login"),
        (TEAM, "/cdn-cgi/access/login/"),
        (TEAM, "/cdn-cgi/access/login/a/b"),
        (TEAM, "/cdn-cgi/access/login/a%2fb"),
        (TEAM, "/cdn-cgi/access/login/..%2fcallback"),
        (TEAM, "/cdn-cgi/access/"),
    ):
        answer = nobody.ask(host, target)
        assert answer is not None
        assert answer.status in (302, 400, 404), (host, target, answer.status)
        assert "authorized" not in (answer.get("Location") or "")


def test_a_team_endpoint_believes_only_the_team_host(stack: Stack) -> None:
    """An application's host must not speak for the team's, should a snippet ever send it there."""
    headers = [("X-Original-Method", "GET"), ("X-Real-Ip", "127.0.0.1")]
    for host in ("grafana.test", "evil.test"):
        for path in ("/team/", "/team/callback", "/team/get-identity", "/team/login/grafana.test", "/team/logout"):
            status, _ = stack.fetch_authd(path, [*headers, ("X-Original-Url", f"https://{host}:{stack.port}/")])
            assert status == 404, path


def test_the_socket_is_for_its_owner_and_group(stack: Stack) -> None:
    """gunicorn's own default is 0777: whoever reaches the socket may claim any address."""
    mode = os.stat(stack.directory / "authd.sock").st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    files = list((stack.directory / "authd.db").resolve().parent.glob("authd.db*"))
    assert files
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in files} == {0o600}
    sockets = [path.name for path in stack.directory.iterdir() if path.is_socket()]
    assert sockets == ["authd.sock"], "and no control socket beside it"


def test_raw_requests_to_the_socket_get_no_permission(stack: Stack) -> None:
    """Broken requests past nginx: refused, and the next one is served."""
    url = f"https://grafana.test:{stack.port}/"
    good = [("X-Original-Method", "GET"), ("X-Original-Url", url), ("X-Original-Path", "/"), ("X-Real-Ip", "127.0.0.1")]
    assert stack.ask_authd("/auth", good) == 401
    hostile = [
        [],
        [("Host", "")],
        [*good, *good],
        [("X-Real-Ip", "127.0.0.2"), *good],
        [*good, ("Cookie", "CF_AUTHORIZATION=" + "e" * 30_000)],
        [*good, ("Cookie", "x" * 60_000)],
        [*good, ("X_Original_Url", url)],
        [*good, *((f"X-{number}", "x") for number in range(200))],
        [*good, ("Script-Name", "/metrics"), ("SCRIPT_NAME", "/x")],
        [
            *good,
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "AA=="),
            ("Sec-WebSocket-Version", "13"),
        ],
        [*good, ("Content-Length", "-1")],
        [*good, ("Expect", "100-continue")],
        [*good, ("X-Original-Path", "\xff")],
    ]
    for headers in hostile:
        status = stack.ask_authd("/auth", headers)
        assert status == 0 or status >= 400, (headers[-1:], status)
        assert stack.ask_authd("/auth", good) == 401
