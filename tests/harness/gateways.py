"""FastCGI, uwsgi and SCGI applications that answer with the parameters they were given, as JSON."""

from __future__ import annotations

import json
import socketserver
import struct
import threading
from typing import IO, Self

Parameters = list[tuple[str, str]]


class GatewayServer:
    """On a free loopback port: `port`. `count` is how many requests reached it."""

    def __init__(self, protocol: str) -> None:
        self.count = 0
        gateway, answer = self, _ANSWERS[protocol]

        class Connection(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                gateway.count += 1
                answer(self.rfile, self.wfile)

        self._server = _Server(("127.0.0.1", 0), Connection)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def _page(parameters: Parameters) -> bytes:
    return b"Status: 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(parameters).encode()


def _answer_fastcgi(stream: IO[bytes], answer: IO[bytes]) -> None:
    # FastCGI 1.0, section 3.3: version, type, request id, content length, padding length, reserved.
    data = b""
    while header := stream.read(8):
        _, kind, request_id, length, padding = struct.unpack(">BBHHBx", header)
        content = stream.read(length + padding)[:length]
        if kind == 4:
            data += content
        if kind == 5 and not length:
            break
    page = _page(_parse_fastcgi(data))
    answer.write(struct.pack(">BBHHBx", 1, 6, request_id, len(page), 0) + page)
    answer.write(struct.pack(">BBHHBx", 1, 3, request_id, 8, 0) + bytes(8))


def _parse_fastcgi(data: bytes) -> Parameters:
    parameters, position = [], 0
    while position < len(data):
        lengths = []
        for _ in range(2):
            size = 4 if data[position] & 0x80 else 1
            lengths.append(int.from_bytes(data[position : position + size], "big") & 0x7FFFFFFF)
            position += size
        name, value = data[position : position + lengths[0]], data[position + lengths[0] :][: lengths[1]]
        position += sum(lengths)
        parameters.append((name.decode(), value.decode("latin-1")))
    return parameters


def _answer_uwsgi(stream: IO[bytes], answer: IO[bytes]) -> None:
    # uwsgi packet: modifier, size of the variables (little endian), modifier; then length and text of each.
    _, size, _ = struct.unpack("<BHB", stream.read(4))
    data, texts = stream.read(size), []
    while data:
        length = int.from_bytes(data[:2], "little")
        texts.append(data[2 : 2 + length].decode("latin-1"))
        data = data[2 + length :]
    answer.write(b"HTTP/1.1 200 OK\r\n" + _page(list(zip(texts[::2], texts[1::2], strict=True))))


def _answer_scgi(stream: IO[bytes], answer: IO[bytes]) -> None:
    length = b""
    while (digit := stream.read(1)) != b":":
        length += digit
    texts = stream.read(int(length)).decode("latin-1").split("\0")[:-1]
    answer.write(_page(list(zip(texts[::2], texts[1::2], strict=True))))


_ANSWERS = {"fastcgi": _answer_fastcgi, "uwsgi": _answer_uwsgi, "scgi": _answer_scgi}
