"""`authd ready`: asked over real sockets. The ready answer of a real authd is in tests/stories and tests/faults."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from authd.cli import main
from authd.readiness import Readiness, ask_readiness, wait_until_ready

READY = Readiness(True, "1.0", ())


@contextmanager
def answering(path: Path, status: int, body: bytes) -> Iterator[None]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

        def address_string(self) -> str:
            return ""

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def body(*problems: str) -> bytes:
    return json.dumps({"status": "any", "version": "1.0", "problems": problems}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (200, body(), READY),
        (503, body("store"), Readiness(False, "1.0", ("store",))),
        (200, b"hello", Readiness(False, "", ("what answers at unix:{} is no authd",))),
        (200, b"[]", Readiness(False, "", ("what answers at unix:{} is no authd",))),
    ],
)
def test_what_is_answered_is_understood(tmp_path: Path, status: int, answer: bytes, expected: Readiness) -> None:
    path = tmp_path / "socket"
    with answering(path, status, answer):
        found = ask_readiness(f"unix:{path}", None)
    assert found == Readiness(
        expected.is_ready, expected.version, tuple(each.format(path) for each in expected.problems)
    )


@pytest.mark.parametrize("listen", ["unix:{}/none", "127.0.0.1:1"])
def test_nobody_is_not_ready(tmp_path: Path, listen: str) -> None:
    found = ask_readiness(listen.format(tmp_path), None)
    assert not found.is_ready
    assert found.problems[0].startswith("nobody answers at")


def test_it_is_asked_again_until_the_version_is_there() -> None:
    answers = iter([Readiness(False, "", ("nobody",)), READY, Readiness(True, "2.0", ())])
    found = wait_until_ready(lambda: next(answers), version="2.0", seconds=9, clock=lambda: 0, sleep=lambda _: None)
    assert found == Readiness(True, "2.0", ())


def test_in_the_end_the_wrong_version_is_told() -> None:
    times = iter([0.0, 1.0, 10.0])
    found = wait_until_ready(lambda: READY, version="2.0", seconds=9, clock=lambda: next(times), sleep=lambda _: None)
    assert (found.is_ready, found.problems) == (False, ("version 1.0 answers, and not 2.0",))


def test_the_command_says_why_not_and_ends_with_1(tmp_path: Path) -> None:
    config = tmp_path / "authd.yml"
    config.write_text(
        f"""
listen: unix:{tmp_path}/none
state: sqlite:{tmp_path}/authd.db
secret_file: secret
applications:
  - {{id: a, name: A, domains: [a.example.com], issuer: "https://i.example.com", aud: {"a" * 64}, policies: []}}
"""
    )
    result = CliRunner().invoke(main, ["ready", "--config", str(config)])
    assert result.exit_code == 1
    assert "authd: not ready: nobody answers at" in result.output
