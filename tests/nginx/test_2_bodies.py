"""2.9: the body of somebody who may not pass is neither awaited nor written to disk."""

from __future__ import annotations

import socket
import time

import pytest

from tests.harness.http2 import send_http2
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Reply, receive

pytestmark = pytest.mark.nginx

_BODY = f"client_max_body_size 0; location / {{ set $authd_app app; {PROTECTED} }}"
HTTP = render_server("app.example.com", _BODY) + render_server(
    "h2.example.com", _BODY, listen="127.0.0.1:{http2_port} http2"
)
_PROMISED_BYTES = 400 * 1024 * 1024


def begin_upload(site: Site, *headers: str, data: bytes = b"") -> tuple[int, bytes]:
    """Sends the head and `data`, never the rest; returns the status of the first answer and its body."""
    lines = ["POST /upload HTTP/1.1", "Host: app.example.com", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as connection:
        connection.sendall("\r\n".join(lines).encode() + data)
        answer = receive(connection)
    assert answer is not None
    return answer.status, answer.body


@pytest.mark.parametrize("session", ["", "denied"])
@pytest.mark.parametrize("size", [f"Content-Length: {_PROMISED_BYTES}", "Transfer-Encoding: chunked"])
def test_2_9_the_answer_comes_before_the_body(site: Site, size: str, session: str) -> None:
    cookie = [f"Cookie: CF_AUTHORIZATION={session}"] if session else []
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    started = time.monotonic()
    status, _ = begin_upload(site, size, *cookie, data=chunk)
    assert status == (403 if session else 302)
    assert time.monotonic() - started < 1
    assert site.application.count == 0
    assert site.authd.challenges[0].body == b""


@pytest.mark.parametrize("size", [2, 16_000])
def test_2_9_over_http2_without_a_length_too(site: Site, size: int) -> None:
    """The body never ends; nginx asks authd all the same, and gives it nothing of the body."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/upload"), (":authority", "h2.example.com")]
    started = time.monotonic()
    assert send_http2(site.http2_port, fields, unfinished_body=b"x" * size) == "answered"
    assert time.monotonic() - started < 1
    assert [challenge.body for challenge in site.authd.challenges] == [b""]
    assert site.application.count == 0


def test_2_9_with_authd_gone_it_ends_in_the_page(site: Site) -> None:
    """The refusal of the chunks is an error page already; this is one within it."""
    site.authd.program(challenge=Reply(drop=True))
    assert begin_upload(site, "Transfer-Encoding: chunked", data=b"10\r\n" + b"x" * 16 + b"\r\n")[0] == 503


def test_2_9_expect_100_continue_is_not_encouraged(site: Site) -> None:
    """100 would make curl send the whole body for nothing."""
    status, _ = begin_upload(site, f"Content-Length: {_PROMISED_BYTES}", "Expect: 100-continue")
    assert status == 302


def test_2_9_nothing_is_written_to_disk(site: Site) -> None:
    begin_upload(site, f"Content-Length: {_PROMISED_BYTES}", data=b"x" * 200_000)
    temporary = site.nginx.directory / "temp" / "client_body"
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
    assert "buffered to a temporary file" not in site.nginx.error_log


def test_2_9_the_challenge_still_knows_the_method(site: Site) -> None:
    begin_upload(site, f"Content-Length: {_PROMISED_BYTES}")
    assert site.authd.challenges[0].get("X-Original-Method") == "POST"


@pytest.mark.parametrize("size", [0, 1, 2, 100_000])
def test_2_9_a_body_that_may_pass_passes_whole(site: Site, size: int) -> None:
    answer = site.get("app.example.com", "/upload", method="POST", session="good", body=b"x" * size)
    assert answer.status == 200
    assert site.application.last.body == b"x" * size


@pytest.mark.parametrize("size", [0, 1, 2])
def test_2_9_small_bodies_are_dropped_as_well(site: Site, size: int) -> None:
    answer = site.get("app.example.com", "/upload", method="POST", body=b"x" * size)
    assert answer.status == 302
    assert site.authd.challenges[0].body == b""


def test_an_endpoint_gets_its_small_form_and_no_large_one(site: Site) -> None:
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    target = "/cdn-cgi/access/logout"
    answer = site.get("app.example.com", target, method="POST", headers=headers, body=b"everywhere=1")
    assert answer.status == 200
    [request] = site.authd.seen
    assert (request.method, request.target, request.body) == ("POST", "/app/logout", b"everywhere=1")
    assert request.get("Content-Type") == "application/x-www-form-urlencoded"
    assert request.get("Content-Length") == "12"
    refused = site.get("app.example.com", target, method="POST", headers=headers, body=b"x" * 70_000)
    assert refused.status == 413
    assert site.authd.count == 1
