"""An application behind a tunnel, on 127.0.0.1:8080 alone: `python application.py NAME [ADDRESS]`.

`/` says NAME; `/upload` answers with length and hash of the body; `/events` sends one event every 0.2 s, each with its
time; `/stuck` never answers; a request with `Upgrade` gets a 101 and then its own bytes back.
"""

from __future__ import annotations

import hashlib
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):
            self._echo()
        elif self.path == "/events":
            self._send_events()
        elif self.path == "/stuck":
            time.sleep(3600)
        else:
            self._answer(sys.argv[1].encode())

    def do_POST(self) -> None:
        digest, length = hashlib.sha256(), 0
        for part in self._read_body():
            digest.update(part)
            length += len(part)
        self._answer(f"{length} {digest.hexdigest()}".encode())

    def _read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left and (part := self.rfile.read(min(left, 1 << 20))):
            left -= len(part)
            yield part

    def _send_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(10):
            self.wfile.write(f"data: {time.time()}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.2)
        self.close_connection = True

    def _echo(self) -> None:
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while part := self.connection.recv(65536):
            self.wfile.write(part)
        self.close_connection = True

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 512
    ThreadingHTTPServer((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", 8080), Handler).serve_forever()
