"""Serves the sample pages on loopback as authd does, and remembers which forms were posted to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from authd.resources.pages import Pages, security_headers
from tests.authd.resources.page_samples import HOSTILE, LONG, ORDINARY, RIGHT_TO_LEFT, SAMPLES

PAGES = Pages("/cdn-cgi/access")
WORDS = {"ordinary": ORDINARY, "hostile": HOSTILE, "long": LONG, "right_to_left": RIGHT_TO_LEFT}


@dataclass(slots=True)
class PageServer:
    """One origin. `form_targets` go into every page's policy; `moved_to` is where a form's answer leads."""

    port: int
    form_targets: tuple[str, ...] = ()
    moved_to: str = ""
    posted: list[tuple[dict[str, str], dict[str, list[str]]]] = field(default_factory=list)
    visited: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, name: str, words: str = "ordinary") -> str:
        return f"{self.origin}/{words}/{name}"


class _Handler(BaseHTTPRequestHandler):
    site: PageServer

    def do_GET(self) -> None:
        self.site.visited.append(self.path)
        if self.path.startswith("/cdn-cgi/access/style.css"):
            self._answer(200, "text/css; charset=utf-8", PAGES.stylesheet.content)
        elif self.path == "/hop":
            self._answer(302, "text/plain", b"")
        else:
            words, _, name = self.path.strip("/").partition("/")
            sample = SAMPLES.get(name)
            html = sample(PAGES, WORDS[words]).html if sample else f"<!doctype html><title>{name}</title>"
            self._answer(200, "text/html; charset=utf-8", html.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.posted.append((headers, parse_qs(body, strict_parsing=bool(body))))
        self._answer(302 if self.site.moved_to else 200, "text/html; charset=utf-8", b"<!doctype html><p>Done")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in security_headers(self.site.form_targets):
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", self.site.moved_to)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_pages() -> Iterator[PageServer]:
    """One origin on a free port of loopback, until the end of the block."""
    handler: Any = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.site = site = PageServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
