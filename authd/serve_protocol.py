"""gunicorn's HTTP protocol, with a short way for what nginx asks again and again.

But for the request's id, nginx asks about the same page for the same person in the same bytes. What gunicorn parsed and
authd judged once is known by exactly these bytes; then there is no parser, no task and no ASGI message (ADR 0120). All
else, and whatever is not one whole request on a connection that waits for one, goes gunicorn's way.
"""

from __future__ import annotations

from typing import Any, Protocol

from gunicorn.asgi.protocol import ASGIProtocol

from authd.resources.check import CHECK_PATH, REPEAT_KEY

_BEGINS = f"GET {CHECK_PATH} HTTP/1.1\r\n".encode()
_HEAD_ENDS = b"\r\n\r\n"
_ID_HEADER = b"\r\nX-Request-Id: "
_ID_BYTES = 32
_ID_STARTS = -(_ID_BYTES + len(_HEAD_ENDS))
_SUFFIX_STARTS = _ID_STARTS - len(_ID_HEADER)
_HEX = frozenset(b"0123456789abcdef")

# gunicorn looks whether its C parser is there from whichever class serves, and finds the answer only at its own: from
# ours it would fall back to the parser in Python, which costs four times as much.
ASGIProtocol._check_h1c_protocol_available()


class Repeats(Protocol):
    """Whoever remembers answers by `repeat_key`."""

    def answer_again(self, repeat_key: bytes, request_id: bytes) -> bytes | None:
        """The whole answer as it goes to the socket; None if it has to be found out anew."""


class ShortWayProtocol(ASGIProtocol):  # type: ignore[misc]
    """One connection. `worker.repeats` is a `Repeats`."""

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self._repeats: Repeats = worker.repeats
        # Between two requests: gunicorn's parser has nothing, and nothing is under way.
        self._is_waiting = True
        self._has_repeated = False
        self._repeat_key: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes of nginx: a whole request nearly always."""
        repeat_key = find_repeat_key(data) if self._is_waiting else None
        if repeat_key is not None and self.worker.alive:
            answer = self._repeats.answer_again(repeat_key, data[_ID_STARTS : -len(_HEAD_ENDS)])
            if answer is not None:
                self._has_repeated = True
                self.transport.write(answer)
                return
        # What comes before this request is answered belongs to it, or to nobody: then nothing may be remembered.
        self._repeat_key, self._is_waiting = repeat_key, False
        super().data_received(data)

    def _build_http_scope(self, request: Any, sockname: Any, peername: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._build_http_scope(request, sockname, peername)
        if self._repeat_key is not None:
            scope[REPEAT_KEY] = self._repeat_key
        return scope

    def _arm_keepalive_timer(self) -> None:
        """gunicorn has answered and has made its parser ready for the next request."""
        super()._arm_keepalive_timer()
        self._repeat_key, self._is_waiting = None, True

    def _keepalive_timeout(self) -> None:
        """The connection idled, as far as gunicorn knows."""
        if self._has_repeated:
            self._has_repeated = False
            super()._arm_keepalive_timer()
        else:
            super()._keepalive_timeout()


def find_repeat_key(data: bytes) -> bytes | None:
    """The bytes of one whole check up to its request id, which stands last; None for any other bytes.

    Nothing in between is read: the same bytes are parsed in the same way.
    """
    if (
        data.startswith(_BEGINS)
        and data[_SUFFIX_STARTS:_ID_STARTS] == _ID_HEADER
        and data.find(_HEAD_ENDS) == len(data) - len(_HEAD_ENDS)
        and _HEX.issuperset(data[_ID_STARTS : -len(_HEAD_ENDS)])
    ):
        return data[:_ID_STARTS]
    return None
