"""Lets Python reach *.localhost by name, as browsers and curl do (RFC 6761, 6.3)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def resolve_localhost_names() -> Iterator[None]:
    """Until the block ends, every name under `.localhost` is 127.0.0.1 for the whole process."""
    original = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        is_local = isinstance(host, str) and host.endswith(".localhost")
        return original("127.0.0.1" if is_local else host, *arguments, **options)

    socket.getaddrinfo = resolve
    try:
        yield
    finally:
        socket.getaddrinfo = original
