"""Reading an answer's body under a byte cap that holds before and after decompression."""

from __future__ import annotations

import zlib
from typing import Protocol

from ipranges.errors import FetchError
from ipranges.fetch.deadline import Deadline

_CHUNK = 65_536


class RawBody(Protocol):
    """What urllib3's response promises: `read1` returns what has arrived, and nothing at the end."""

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes: ...


def read_body(raw: RawBody, *, encoding: str, max_bytes: int, deadline: Deadline) -> bytes:
    """The body, whole; raises FetchError if it is too large or too late.

    We decompress ourselves, with a bound: libraries inflate 50 kB to 50 MB before anybody can look.
    NOT checked here: that the length is the announced one; urllib3 raises for that.
    """
    decoder = _create_decoder(encoding)
    parts: list[bytes] = []
    room = max_bytes
    while True:
        deadline.verify_not_over()
        chunk = raw.read1(_CHUNK, decode_content=False)
        if not chunk:
            break
        plain = decoder.decompress(chunk, room + 1) if decoder else chunk
        room -= len(plain)
        if room < 0:
            raise FetchError(f"the body is larger than {max_bytes} bytes")
        parts.append(plain)
    if decoder is not None and not decoder.eof:
        raise FetchError("the compressed body is cut short")
    return b"".join(parts)


def _create_decoder(encoding: str) -> zlib._Decompress | None:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    raise FetchError(f"the body is encoded as {name[:20]!a}, which was not asked for")
