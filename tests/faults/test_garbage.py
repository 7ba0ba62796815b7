"""Whatever bytes come from authd's socket instead of an answer to the check: none of it is a permission to nginx.

A complete head that begins with 200 is authd's yes, whatever its lengths say: that is not among these.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from authd.nginx_files import NginxSettings, render_settings, write_files
from tests.harness.echo import EchoApplication
from tests.harness.nginx import find_free_port, running_nginx
from tests.harness.raw_http import fetch

pytestmark = pytest.mark.nginx

GARBAGE = {
    "nothing": b"",
    "a line feed": b"\n",
    "what is no HTTP": b"OK 200 200 OK\r\n\r\n",
    "HTTP/0.9": b"<html>200 OK</html>",
    "the status alone": b"HTTP/1.1 200",
    "headers without an end": b"HTTP/1.1 200 OK\r\nX-Accel-Expires: 0\r\n",
    "a header cut in two": b"HTTP/1.1 200 OK\r\nX-Acc",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of letters": b"HTTP/1.1 OK 200\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "zeros": bytes(4096),
    "a header of zeros": b"HTTP/1.1 200 OK\r\n" + bytes(100) + b"\r\n\r\n",
    "a header of 100 kB": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    "100 and no more": b"HTTP/1.1 100 Continue\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "302": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
}


class _Parrot(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers every request with `says`, and hangs up."""

    daemon_threads = True
    block_on_close = False
    says = b""


class _Answer(socketserver.BaseRequestHandler):
    server: _Parrot

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.request.recv(65536)
            self.request.sendall(self.server.says)


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Parrot]:
    with _Parrot(str(tmp_path_factory.mktemp("parrot") / "authd.sock"), _Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def application() -> Iterator[EchoApplication]:
    with EchoApplication() as running:
        yield running


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, parrot: _Parrot, application: EchoApplication) -> Iterator[int]:
    directory: Path = tmp_path_factory.mktemp("garbage")
    listen = f"unix:{parrot.server_address!s}"
    settings = replace(NginxSettings(), listen=listen, cache_directory=str(directory / "cache"))
    write_files(render_settings(settings), directory / "authd")
    free = find_free_port()
    http = f"""
        include authd/authd-http.conf;
        server {{
            listen 127.0.0.1:{free};
            server_name app.example.com;
            include authd/authd-server.conf;
            location / {{
                set $authd_app app;
                include authd/authd-protect.conf;
                include authd/authd-identity.conf;
                proxy_pass http://127.0.0.1:{application.port};
            }}
        }}"""
    with running_nginx(directory, http, port=free):
        yield free


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_no_permission(port: int, parrot: _Parrot, application: EchoApplication, name: str) -> None:
    application.seen.clear()
    parrot.says = GARBAGE[name]
    answer = fetch(port, "/", host="app.example.com")
    assert application.seen == []
    assert answer.status == 503
    assert answer.get("Retry-After") == "5"


def test_the_parrot_can_say_yes(port: int, parrot: _Parrot, application: EchoApplication) -> None:
    """The tests above could fail."""
    application.seen.clear()
    parrot.says = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Accel-Expires: 0\r\n\r\n"
    assert fetch(port, "/", host="app.example.com").status == 200
    assert application.count == 1
