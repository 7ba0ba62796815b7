"""What runs on an origin: `application.py NAME ADDRESS PORT` tells its name and whom it was told to serve."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told = {"application": sys.argv[1], "user": self.headers.get("X-Authd-User")}
        body = json.dumps(told | {"token": bool(self.headers.get("Cf-Access-Jwt-Assertion"))}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 512
    ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler).serve_forever()
