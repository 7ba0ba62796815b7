"""Fetching from a server that lies, drips, redirects, or sends too much."""

from __future__ import annotations

import gzip
import time
import tracemalloc

import pytest

from ipranges.errors import FetchError
from ipranges.fetch import Fetched, Fetcher, HttpLimits
from ipranges.fetch.http import _verify_redirect
from ipranges.model import Validators
from tests.ipranges.edge_server import Answer, EdgeServer

LIST = b"1.2.3.0/24\n"
URL = "/list"


def fetch(server: EdgeServer, path: str = URL, *, validators: Validators | None = None, **limits: object) -> Fetched:
    settings = HttpLimits(**({"retries": 0, "deadline_seconds": 5} | limits))  # type: ignore[arg-type]
    return Fetcher(settings, sleep=lambda seconds: None).fetch(server.url(path), accept="*/*", validators=validators)


def refusal(server: EdgeServer, path: str = URL, **limits: object) -> str:
    with pytest.raises(FetchError) as error:
        fetch(server, path, **limits)
    return str(error.value)


def test_a_plain_answer_is_returned_with_its_validators(server: EdgeServer) -> None:
    server.serve(URL, LIST, headers={"ETag": '"x"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})
    assert fetch(server) == Fetched(LIST, '"x"', "Mon, 01 Jan 2024 00:00:00 GMT")
    assert server.asked[0].headers["user-agent"].startswith("ipranges/")


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 403, 404, 410])
def test_any_other_status_is_no_list(server: EdgeServer, status: int) -> None:
    server.serve(URL, LIST, status=status)
    assert f"status {status}" in refusal(server)


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=UTF-8", "TEXT/HTML", "application/xhtml+xml"])
def test_a_web_page_is_no_list_whatever_its_status(server: EdgeServer, kind: str) -> None:
    server.serve(URL, LIST, content_type=kind)
    assert "is a web page" in refusal(server)


def test_a_busy_server_is_asked_again_with_growing_pauses(server: EdgeServer) -> None:
    server.answers[URL] = [Answer(status=503), Answer(status=502), Answer(LIST)]
    slept: list[float] = []
    fetcher = Fetcher(HttpLimits(retries=3), sleep=slept.append)
    assert fetcher.fetch(server.url(URL), accept="*/*").body == LIST
    assert slept == [1.0, 2.0]


def test_retry_after_is_honoured_and_never_beyond_the_deadline(server: EdgeServer) -> None:
    slept: list[float] = []
    server.answers[URL] = [Answer(status=429, headers={"Retry-After": "7"}), Answer(LIST)]
    Fetcher(HttpLimits(), sleep=slept.append).fetch(server.url(URL), accept="*/*")
    assert slept == [7.0]
    server.answers[URL] = Answer(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(FetchError, match="status 429"):
        Fetcher(HttpLimits(), sleep=slept.append).fetch(server.url(URL), accept="*/*")
    assert slept == [7.0]


def test_a_refusal_is_not_asked_again(server: EdgeServer) -> None:
    server.serve(URL, LIST, status=403)
    refusal(server, retries=5)
    assert len(server.asked) == 1


def test_conditional_requests_are_answered_by_304(server: EdgeServer) -> None:
    server.serve(URL, b"", status=304)
    kept = Validators(server.url(URL), '"x"', "yesterday")
    assert fetch(server, validators=kept).body is None
    assert server.asked[0].headers["if-none-match"] == '"x"'
    assert server.asked[0].headers["if-modified-since"] == "yesterday"


def test_a_redirect_on_the_same_host_is_followed(server: EdgeServer) -> None:
    server.serve(URL, b"", status=301, headers={"Location": "/list/"})
    server.serve("/list/", LIST)
    assert fetch(server).body == LIST


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://localhost:{port}/x", "another host"),
        ("http://127.0.0.2:{port}/x", "another host"),
        ("http://127.0.0.1:1/x", "another host"),
        ("//evil.example/x", "another host"),
        ("file:///etc/passwd", "leads nowhere"),
        ("", "leads nowhere"),
        ("http://[broken/", "leads nowhere"),
    ],
)
def test_a_redirect_elsewhere_is_refused(server: EdgeServer, location: str, words: str) -> None:
    server.serve(URL, b"", status=302, headers={"Location": location.format(port=server.port)})
    assert words in refusal(server)
    assert len(server.asked) == 1


def test_a_redirect_out_of_tls_is_refused_and_one_into_it_is_not() -> None:
    with pytest.raises(FetchError, match="from https to http"):
        _verify_redirect("https://a.example/x", "http://a.example/x")
    assert _verify_redirect("http://a.example/x", "https://a.example/y") == "https://a.example/y"


def test_redirects_end(server: EdgeServer) -> None:
    for number in range(7):
        server.serve(f"/{number}", b"", status=302, headers={"Location": f"/{number + 1}"})
    assert "more than 3 redirects" in refusal(server, "/0")
    assert len(server.asked) == 4


def test_a_body_shorter_than_announced_is_refused(server: EdgeServer) -> None:
    server.serve(URL, LIST, announced_length=230)
    assert "shorter than announced" in refusal(server)


def test_a_body_that_drips_ends_at_the_deadline(server: EdgeServer) -> None:
    server.serve(URL, LIST * 100, drip_seconds=0.05)
    started = time.monotonic()
    assert "no complete answer within 0.4 s" in refusal(server, deadline_seconds=0.4)
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_too_large_a_body_is_refused(server: EdgeServer, encoding: str) -> None:
    body = LIST * 200_000
    headers = {"Content-Encoding": "gzip"} if encoding else {}
    server.serve(URL, gzip.compress(body) if encoding else body, headers=headers)
    assert "larger than 1000000 bytes" in refusal(server, max_bytes=1_000_000)


def test_a_gzip_bomb_costs_no_memory(server: EdgeServer) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    server.serve(URL, bomb, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        assert "larger than 1000000 bytes" in refusal(server, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


def test_gzip_is_read_and_a_damaged_one_refused(server: EdgeServer) -> None:
    packed = gzip.compress(LIST * 50)
    server.serve(URL, packed, headers={"Content-Encoding": "gzip"})
    assert fetch(server).body == LIST * 50
    server.serve(URL, packed[:-9], headers={"Content-Encoding": "gzip"})
    assert "cut short" in refusal(server)
    server.serve(URL, b"\x1f\x8b\x08" + b"\xff" * 40, headers={"Content-Encoding": "gzip"})
    assert "damaged" in refusal(server)
    server.serve(URL, packed, headers={"Content-Encoding": "br"})
    assert "was not asked for" in refusal(server)


def test_nobody_listening_is_one_sentence() -> None:
    with pytest.raises(FetchError) as error:
        Fetcher(HttpLimits(retries=0)).fetch("http://127.0.0.1:1/x", accept="*/*")
    assert "Connection refused" in str(error.value)
    assert "object at" not in str(error.value)


def test_netrc_sends_no_credentials(server: EdgeServer, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"  # type: ignore[operator]
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.serve(URL, LIST)
    fetch(server)
    assert "authorization" not in server.asked[0].headers
