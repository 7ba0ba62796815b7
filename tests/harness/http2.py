"""Sends one HTTP/2 request with fields that no client library would send, over plain TCP (prior knowledge)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import IO

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 0x1, 0x4


def send_http2(port: int, fields: Sequence[tuple[str, str]], *, unfinished_body: bytes = b"") -> str:
    """How nginx took it: "answered", "reset" or "closed". Fields are sent as they are (RFC 9113, RFC 7541).

    With `unfinished_body` the request has a body that never ends; it must fit into one frame (16 kB).
    """
    block = b"".join(_encode_field(name, value) for name, value in fields)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        connection.sendall(_frame(_HEADERS, _END_HEADERS if unfinished_body else _END_STREAM | _END_HEADERS, 1, block))
        if unfinished_body:
            connection.sendall(_frame(_DATA, 0, 1, unfinished_body))
        with connection.makefile("rb") as stream:
            return _read_outcome(stream)


def _read_outcome(stream: IO[bytes]) -> str:
    while len(header := stream.read(9)) == 9:
        kind = header[3]
        stream.read(int.from_bytes(header[:3], "big"))
        if kind in (_HEADERS, _RST_STREAM, _GOAWAY):
            return {_HEADERS: "answered", _RST_STREAM: "reset", _GOAWAY: "closed"}[kind]
    return "closed"


def _encode_field(name: str, value: str) -> bytes:
    # 0x00: a literal field that is not put into the dynamic table, lengths without Huffman code.
    encoded = [text.encode("latin-1") for text in (name, value)]
    assert all(len(text) < 127 for text in encoded), "longer lengths need a second byte"
    return b"\x00" + b"".join(bytes([len(text)]) + text for text in encoded)


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload
