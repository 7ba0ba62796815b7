"""4.10: what bounds the decision cache, and what happens when its directory is gone.

nginx plays authd here, on a socket of its own: the stand-in in Python would be too slow for a flood.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from authd.nginx_files import NginxSettings, render_settings, write_files
from tests.harness.nginx import find_free_port, running_nginx
from tests.harness.protected import render_server
from tests.harness.raw_http import send_raw

pytestmark = pytest.mark.nginx

# An eighth of what is rendered (1 MB, some 8,000 decisions), so that the flood is short.
ZONE, MOST_FILES = "keys_zone=authd:128k", 1100
FLOOD = 3000


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """nginx' port and its cache directory."""
    port, directory = find_free_port(), tmp_path / "cache"
    settings = NginxSettings(listen=f"unix:{tmp_path}/authd.sock", cache_directory=str(directory))
    files = render_settings(settings)
    assert "keys_zone=authd:1m" in files["authd-http.conf"]
    files["authd-http.conf"] = files["authd-http.conf"].replace("keys_zone=authd:1m", ZONE)
    write_files(files, tmp_path / "authd")
    authd = f"server {{ listen unix:{tmp_path}/authd.sock; add_header X-Accel-Expires 60; return 200; }}"
    location = """
    keepalive_requests 100000;
    location / { set $authd_app app; include authd/authd-protect.conf; try_files /none @passed; }
    location @passed { return 204; }
"""
    http = f"include authd/authd-http.conf; {authd} {render_server('app.example.com', location)}"
    with running_nginx(tmp_path, http.replace("{port}", str(port)), port=port):
        yield port, directory


def flood(port: int, first: int, count: int) -> int:
    """Asks for `count` distinct URLs over one connection; returns how many were answered with 204."""
    requests = b"".join(
        f"GET /{number} HTTP/1.1\r\nHost: app.example.com\r\n\r\n".encode() for number in range(first, first + count)
    )
    last = b"GET /last HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"
    answered = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(requests + last)
        with connection.makefile("rb") as stream:
            for line in stream:
                answered += line.startswith(b"HTTP/1.1 204")
    return answered - 1


def test_4_10_the_zone_bounds_the_cache_under_a_flood_of_urls(cache: tuple[int, Path]) -> None:
    port, directory = cache
    # In batches: all at once would not fit into the socket's buffers.
    batch = FLOOD // 6
    assert sum(flood(port, number, batch) for number in range(0, FLOOD, batch)) == FLOOD
    files = sum(path.is_file() for path in directory.rglob("*"))
    assert files <= MOST_FILES


def test_4_10_a_cache_directory_that_is_gone_lets_nobody_in_unasked(cache: tuple[int, Path]) -> None:
    """The connection is closed without an answer: an outage, which is why docs/nginx.md wants a tmpfs of its own."""
    port, directory = cache
    shutil.rmtree(directory)
    assert send_raw(port, b"GET /gone HTTP/1.1\r\nHost: app.example.com\r\n\r\n") is None
