"""A small HTTP/1.1 server and client that hide nothing: header lines arrive as they were on the wire."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

Headers = tuple[tuple[str, str], ...]
_MAX_LINE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response. `start` is its first line; header names keep their case."""

    start: str
    headers: Headers = ()
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1]) if self.start else 0

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    @property
    def text(self) -> str:
        return self.body.decode()

    def get(self, name: str) -> str | None:
        """The value, or None. Two lines of one name are an error: ask `get_all`."""
        values = self.get_all(name)
        assert len(values) < 2, f"{len(values)} lines of {name}: {values}"
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a programmed server does. `drop` closes the connection instead of answering."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    delay_seconds: float = 0.0
    drop: bool = False


Handler = Callable[[Message], Reply]


@dataclass
class Recorder:
    """The requests that a server has seen, in order."""

    seen: list[Message] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.seen)

    @property
    def last(self) -> Message:
        return self.seen[-1]


class RawServer(Recorder):
    """Serves `handler` on a unix socket or a loopback port until `close`. Connections are kept alive."""

    def __init__(self, address: Path | tuple[str, int], handler: Handler) -> None:
        super().__init__()
        self.handler = handler
        self.connection_count = 0
        self._connections: set[socket.socket] = set()
        family = _UnixServer if isinstance(address, Path) else _TcpServer
        self._server = family(str(address) if isinstance(address, Path) else address, _make_handler(self))
        self.port = 0 if isinstance(address, Path) else self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stops listening and cuts every connection, as a killed process would."""
        self._server.shutdown()
        self._server.server_close()
        self.cut_connections()

    def cut_connections(self) -> None:
        """Ends the connections that are open now, idle ones included."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


def _make_handler(server: RawServer) -> type[socketserver.BaseRequestHandler]:
    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            server._connections.add(self.request)
            server.connection_count += 1
            try:
                self._serve()
            except (OSError, ValueError):
                return  # the peer went away, or sent what is no HTTP: its problem
            finally:
                server._connections.discard(self.request)

        def _serve(self) -> None:
            with self.request.makefile("rwb") as stream:
                while (request := read_message(stream)) is not None:
                    server.seen.append(request)
                    if not _answer(stream, request, server.handler(request)):
                        return

    return Connection


def _answer(stream: IO[bytes], request: Message, reply: Reply) -> bool:
    if reply.delay_seconds:
        time.sleep(reply.delay_seconds)
    if reply.drop:
        return False
    head = f"HTTP/1.1 {reply.status} Programmed\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    if reply.status == 101:
        return _echo_bytes(stream, f"{head}\r\n".encode("latin-1"))
    body = b"" if request.method == "HEAD" else reply.body
    stream.write(f"{head}Content-Length: {len(reply.body)}\r\n\r\n".encode("latin-1") + body)
    stream.flush()
    return True


def _echo_bytes(stream: IO[bytes], data: bytes) -> bool:
    while data:
        stream.write(data)
        stream.flush()
        data = stream.read1(4096)  # type: ignore[attr-defined]
    return False


def read_message(stream: IO[bytes], *, head_only: bool = False) -> Message | None:
    """The next message, or None at the end of the connection. Understands Content-Length and chunks."""
    head = _read_head(stream)
    if not head:
        return None
    start, *lines = (line.decode("latin-1") for line in head)
    headers = tuple((name, value.strip(" ")) for name, _, value in (line.partition(":") for line in lines))
    message = Message(start, headers)
    if head_only or message.start.startswith("HTTP/1.1 1"):
        return message
    return Message(start, headers, _read_body(stream, message))


def _read_head(stream: IO[bytes]) -> list[bytes]:
    lines: list[bytes] = []
    while line := stream.readline(_MAX_LINE_BYTES):
        if line == b"\r\n":
            return lines
        lines.append(line.removesuffix(b"\n").removesuffix(b"\r"))
    return []


def _read_body(stream: IO[bytes], message: Message) -> bytes:
    if message.get_all("Transfer-Encoding"):
        chunks = []
        while size := int(stream.readline().split(b";")[0], 16):
            chunks.append(stream.read(size))
            stream.readline()
        stream.readline()
        return b"".join(chunks)
    if lengths := message.get_all("Content-Length"):
        return stream.read(int(lengths[0]))
    return stream.read() if message.start.startswith("HTTP/") else b""


def send_raw(port: int, data: bytes, *, timeout_seconds: float = 10.0) -> Message | None:
    """Sends bytes as they are and returns the answer; None where the server closes without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds) as connection:
        try:
            connection.sendall(data)
            return receive(connection, head_only=data.startswith(b"HEAD "))
        except ConnectionError:
            return None


def receive(connection: socket.socket, *, head_only: bool = False) -> Message | None:
    """The one answer that is read from a connection; what comes after it is lost."""
    with connection.makefile("rb") as stream:
        return read_message(stream, head_only=head_only)


def fetch(
    port: int,
    target: str,
    *,
    host: str,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> Message:
    """One request on a connection of its own. Raises AssertionError where no answer comes."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
    answer = send_raw(port, head + (body or b""))
    assert answer is not None, f"{method} {host}{target}: closed without an answer"
    return answer
