"""Requests at a constant rate, each at its own moment.

No program of Debian does that: `h2load --rps` wakes all its connections together every ten milliseconds, so that it
measures how long a burst of fifty queues.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.load import CONNECTIONS, PATH

WARM_UP_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0


def run_at_rate(port: int, *, host: str, per_second: float, seconds: int, cookie: str) -> list[int]:
    """Microseconds of each answer, in order of length. Raises RuntimeError for any other than a 200.

    The first WARM_UP_SECONDS, in which nginx opens its own connections, do not count. A request whose turn comes while
    no connection is free counts from its turn, any other from when it is sent: it is no fault of the server if this
    program wakes late.
    """
    lines = [f"GET {PATH} HTTP/1.1", f"Host: {host}", *([f"Cookie: {cookie}"] if cookie else [])]
    request = "\r\n".join([*lines, "", ""]).encode()
    count, uncounted = max(CONNECTIONS, int(per_second * seconds)), int(per_second * WARM_UP_SECONDS)
    with _open_connections(port, request) as connections, _no_collector():
        return sorted(_Schedule(connections, per_second, uncounted + count).run()[uncounted:])


class _Connection:
    """One at a time: a request, and its answer."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port, self._request = port, request
        self._answer = b""
        self.began = 0.0
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def send(self, began: float) -> None:
        """Ask. `began` is what the answer's time counts from."""
        self._answer, self.began = b"", began
        self._socket.sendall(self._request)

    def has_answer(self) -> bool:
        """Read what is there. Raises RuntimeError if it is no 200 with a length, or the end of the connection."""
        received = self._socket.recv(65_536)
        self._answer += received
        head, is_whole, body = self._answer.partition(b"\r\n\r\n")
        if not received or not self._answer.startswith(b"HTTP/1.1 200 "[: len(self._answer)]):
            raise RuntimeError("answers at a constant rate were refused; the figure would mean nothing")
        if not is_whole:
            return False
        _, has_length, rest = head.lower().partition(b"\r\ncontent-length: ")
        if not has_length:
            raise RuntimeError("an answer at a constant rate does not say how long it is")
        return len(body) >= int(rest.split(b"\r\n", 1)[0])

    def free(self) -> None:
        """Make it ready for the next request: nginx ends a connection after so many of them, and says so before."""
        if b"\r\nconnection: close\r\n" in self._answer.lower():
            self.close()
            self._open()

    def close(self) -> None:
        """Raises nothing."""
        self._socket.close()


class _Schedule:
    """`count` requests, one each `1 / per_second` seconds, on whichever connection is free."""

    def __init__(self, connections: list[_Connection], per_second: float, count: int) -> None:
        self._idle = deque(connections)
        self._busy: set[_Connection] = set()
        self._late: deque[float] = deque()
        self._count, self._spacing = count, 1 / per_second
        self._taken: list[int] = []

    def run(self) -> list[int]:
        """Microseconds of each, as they came."""
        started, begun = time.perf_counter(), 0
        while len(self._taken) < self._count:
            while begun < self._count and (turn := started + begun * self._spacing) <= time.perf_counter():
                self._begin(turn)
                begun += 1
            until_next = started + begun * self._spacing - time.perf_counter()
            self._read(max(0.0, until_next) if begun < self._count else _PATIENCE_SECONDS)
        return self._taken

    def _begin(self, turn: float) -> None:
        if self._idle:
            self._send(self._idle.popleft(), time.perf_counter())
        elif time.perf_counter() - turn > _PATIENCE_SECONDS:
            raise RuntimeError("the server does not answer at this rate")
        else:
            self._late.append(turn)

    def _send(self, connection: _Connection, began: float) -> None:
        self._busy.add(connection)
        connection.send(began)

    def _read(self, seconds: float) -> None:
        readable, _, _ = select.select(list(self._busy), (), (), seconds)
        if not readable and seconds >= _PATIENCE_SECONDS:
            raise RuntimeError("the server does not answer at this rate")
        for connection in readable:
            if not connection.has_answer():
                continue
            self._taken.append(round((time.perf_counter() - connection.began) * 1e6))
            self._busy.discard(connection)
            connection.free()
            if self._late:
                self._send(connection, self._late.popleft())
            else:
                self._idle.append(connection)


@contextmanager
def _open_connections(port: int, request: bytes) -> Iterator[list[_Connection]]:
    with ExitStack() as stack:
        connections = [_Connection(port, request) for _ in range(CONNECTIONS)]
        for connection in connections:
            stack.callback(connection.close)
        yield connections


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
