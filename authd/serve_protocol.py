"""gunicorn's HTTP protocol, with a short way for what nginx asks again and again.

But for the request's id, nginx asks about the same page for the same person in the same bytes. What gunicorn parsed and
authd judged once is known by exactly these bytes; then there is no parser, no task and no ASGI message (ADR 0120). What
is asked for the first time is read by gunicorn's parser and judged without ASGI around it (ADR 0123). All else, and
whatever is not one whole request on a connection that waits for one, goes gunicorn's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Protocol

from gunicorn.asgi.protocol import ASGIProtocol

from authd.audit import log_event
from authd.resources.check import CHECK_PATH

_BEGINS = f"GET {CHECK_PATH} HTTP/1.1\r\n".encode()
_HEAD_ENDS = b"\r\n\r\n"
_ID_HEADER = b"\r\nX-Request-Id: "
_ID_BYTES = 32
_ID_STARTS = -(_ID_BYTES + len(_HEAD_ENDS))
_SUFFIX_STARTS = _ID_STARTS - len(_ID_HEADER)
_HEX = b"0123456789abcdef"
# More than the head of the request, or the end of the connection, hangs on these.
_ABOUT_THE_CONNECTION = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
_get_name = itemgetter(0)
# To a check and to anything else that cannot be read. nginx shows a visitor what authd says about the second.
_REFUSED = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nx-accel-expires: 0\r\nconnection: close\r\n\r\n"
_UNREADABLE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
Headers = Sequence[tuple[bytes, bytes]]

# gunicorn looks whether its C parser is there from whichever class serves, and finds the answer only at its own: from
# ours it would fall back to the parser in Python, which costs four times as much.
ASGIProtocol._check_h1c_protocol_available()


class Checks(Protocol):
    """Whoever answers checks, each as the bytes that go to the socket."""

    def answer_again(self, repeat_key: bytes, request_id: bytes) -> bytes | None:
        """The answer to these very bytes and an id; None if it has to be found out anew."""

    async def answer(self, repeat_key: bytes, raw: Headers) -> bytes:
        """The answer to a request of these headers, whose bytes up to the id are `repeat_key`."""

    def note_unreadable(self) -> None:
        """A check was refused, since its head cannot be read."""


class ShortWayProtocol(ASGIProtocol):  # type: ignore[misc]
    """One connection. `worker.checks` is a `Checks`."""

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self._checks: Checks = worker.checks
        # Between two requests: gunicorn's parser has nothing, and nothing is under way.
        self._is_waiting = True
        self._has_answered = False
        self._repeat_key: bytes | None = None
        self._asked: Headers | None = None
        self._asking: asyncio.Task[bytes] | None = None
        self._early = b""
        # The other end takes what is written.
        self._is_heard = True

    def data_received(self, data: bytes) -> None:
        """Bytes of nginx: a whole request nearly always."""
        if self._asking is not None:
            # nginx waits for its answer. Whoever does not has to.
            self._early += data
            self.transport.pause_reading()
            return
        repeat_key = find_repeat_key(data) if self._is_waiting and self.worker.alive else None
        if repeat_key is not None:
            answer = self._checks.answer_again(repeat_key, data[_ID_STARTS : -len(_HEAD_ENDS)])
            if answer is not None:
                self._has_answered = True
                self.transport.write(answer)
                return
        self._repeat_key, self._is_waiting = repeat_key, False
        super().data_received(data)
        if self._asked is not None and repeat_key is not None:
            self._asking = self.worker.loop.create_task(self._checks.answer(repeat_key, self._asked))
            self._asking.add_done_callback(self._end_asking)

    def _feed_callback_parser(self, data: bytes) -> bool:
        """Refuse what the C parser cannot read: a visitor's cookie may hold control characters, and nginx passes them.

        gunicorn lets most of its errors through, which ends the connection without an answer and writes a traceback.
        """
        try:
            return bool(super()._feed_callback_parser(data))
        except ValueError:  # the one base of the parser's two kinds
            self._asked = None
            if self._repeat_key is not None:
                self._checks.note_unreadable()
            self._safe_write(_UNREADABLE if self._repeat_key is None else _REFUSED)
            self._close_transport()
            return False

    def pause_writing(self) -> None:
        """Answers pile up: whoever does not read them is not read either."""
        super().pause_writing()
        self._is_heard = False
        if not self._closed:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """They have been read."""
        super().resume_writing()
        self._is_heard = True
        self._read_on()

    def _read_on(self) -> None:
        if self._is_heard and not self._early and not self._closed:
            self.transport.resume_reading()

    def _on_headers_complete(self) -> bool:
        """gunicorn's parser has read a head: of one whole check and nothing else, or of a request for gunicorn."""
        if self._repeat_key is not None:
            # As gunicorn reads them.
            raw = list(getattr(self._callback_parser, "asgi_headers", None) or self._callback_parser.headers)
            if _ABOUT_THE_CONNECTION.isdisjoint(map(_get_name, raw)):
                self._asked = raw
                return False
        return bool(super()._on_headers_complete())

    def _end_asking(self, task: asyncio.Task[bytes]) -> None:
        """Answer, and wait for the next request. Without an answer the connection ends, which nginx takes for none."""
        self._asking = self._asked = None
        try:
            answer = task.result()
            if not self._closed:
                self.transport.write(answer)
        except asyncio.CancelledError:
            self._close_transport()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            log_event("error.unhandled", level="error", error=type(error).__name__, path=CHECK_PATH)
            self._close_transport()
        else:
            self._wait_again()

    def _wait_again(self) -> None:
        if self._closed:
            return
        self._callback_parser.reset()
        self._has_answered = True
        self._repeat_key, self._is_waiting = None, True
        if not self.worker.alive:
            self._close_transport()
        elif early := self._early:
            self._early = b""
            self._read_on()
            self.data_received(early)

    def _arm_keepalive_timer(self) -> None:
        """gunicorn has answered and has made its parser ready for the next request."""
        super()._arm_keepalive_timer()
        self._repeat_key, self._is_waiting = None, True

    def _keepalive_timeout(self) -> None:
        """The connection idled, as far as gunicorn knows."""
        if self._has_answered:
            self._has_answered = False
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
        and not data[_ID_STARTS : -len(_HEAD_ENDS)].translate(None, _HEX)
    ):
        return data[:_ID_STARTS]
    return None
