"""A local HTTP server that plays the providers: it answers what a test tells it to, right or wrong."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SAMPLES = Path(__file__).parent / "samples"


def read_sample(name: str) -> bytes:
    """A sample's bytes, as its provider sends them."""
    return (SAMPLES / name).read_bytes()


@dataclass
class Answer:
    """One answer. `announced_length` lies about the body; `drip_seconds` is a pause before each byte."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    announced_length: int | None = None
    drip_seconds: float = 0.0


@dataclass
class Asked:
    """One request that arrived."""

    path: str
    headers: dict[str, str]


class EdgeServer:
    """Answers by path; `asked` are all requests so far, in order."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.asked: list[Asked] = []
        self._stopping = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._build_handler())
        self._http.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._scheme = "https"
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        # A fast poll: each test's server is stopped, and waits for this.
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._http.server_address[1]

    def url(self, path: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    def serve(self, path: str, body: bytes | str, **details: object) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.answers[path] = Answer(content, **details)  # type: ignore[arg-type]

    def serve_sample(self, path: str, name: str, **details: object) -> None:
        self.serve(path, read_sample(name), **details)

    def quiet_errors(self) -> None:
        """Let failed handshakes pass unseen: they are what a test is about."""
        self._http.handle_error = lambda request, address: None  # type: ignore[method-assign,assignment]

    def close(self) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def _build_handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                """Nothing: a test reads `asked`."""

            def setup(self) -> None:
                if isinstance(self.request, ssl.SSLSocket):
                    self.request.do_handshake()
                super().setup()

            def do_GET(self) -> None:
                server.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}))
                answer = server.answers.get(self.path, Answer(b"not found", 404, "text/plain"))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                self._send(answer)

            def _send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                length = len(answer.body) if answer.announced_length is None else answer.announced_length
                if answer.status != 304:
                    self.send_header("Content-Length", str(length))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self._write(answer)
                except OSError:
                    return

            def _write(self, answer: Answer) -> None:
                if not answer.drip_seconds:
                    self.wfile.write(answer.body)
                    return
                for byte in answer.body:
                    if server._stopping.is_set():
                        return
                    time.sleep(answer.drip_seconds)
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()

        return Handler
