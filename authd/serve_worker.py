"""gunicorn's ASGI worker, with an end that does not wait for nobody.

gunicorn waits until every connection is closed, up to `graceful_timeout`. nginx keeps its connections open for the
next request, so each stop took those 10 s, in which nobody could log in. Here a worker that was told to stop ends as
soon as no request is under way.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from gunicorn.workers import gasgi
from gunicorn.workers.gasgi import ASGIWorker

from authd.serve_protocol import Checks, Headers, ShortWayProtocol

# gunicorn's loop looks once a second whether it shall end, and takes requests until then.
_LOOP_SECONDS = 1.1
ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_LOOK_SECONDS = 0.02
_Asgi = Callable[..., Awaitable[None]]


class RequestCounter:
    """An ASGI application around another one, and its check. `under_way` is how many requests have not been answered
    yet."""

    def __init__(self, app: _Asgi, check: Checks) -> None:
        self._app = app
        self._check = check
        self.under_way = 0
        # Over before anybody could look.
        self.answer_again = check.answer_again
        self.note_unreadable = check.note_unreadable

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """See the class. Lifespan and whatever else is no request is not counted."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        self.under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.under_way -= 1

    async def answer(self, repeat_key: bytes, raw: Headers) -> bytes:
        """As the check does."""
        self.under_way += 1
        try:
            return await self._check.answer(repeat_key, raw)
        finally:
            self.under_way -= 1


class PromptWorker(ASGIWorker):  # type: ignore[misc]
    """See the module."""

    app: Any
    asgi: Any
    checks: Checks
    _is_serving = False

    def notify(self) -> None:
        """A sign of life; the first also says that the application is loaded and the worker listens."""
        super().notify()
        if not self._is_serving:
            self._is_serving = True
            self.app.count_serving_worker()

    def load_wsgi(self) -> None:
        """Load the application and count its requests."""
        super().load_wsgi()
        self.requests = self.checks = self.asgi = RequestCounter(self.asgi, self.asgi.check)
        # gunicorn has no setting for the protocol of its ASGI worker.
        gasgi.ASGIProtocol = ShortWayProtocol

    def init_signals(self) -> None:
        """Let signals wait until the loop runs: uvloop forgets what comes before. The master has blocked them."""
        super().init_signals()
        self.loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, ENDING_SIGNALS)

    def handle_exit_signal(self) -> None:
        """SIGTERM: what is under way is finished (within `graceful_timeout`), idle connections are not waited for."""
        super().handle_exit_signal()
        self._ending = self.loop.create_task(self._end_when_idle())

    async def _end_when_idle(self) -> None:
        await asyncio.sleep(_LOOP_SECONDS)
        while self.requests.under_way:  # noqa: ASYNC110 - looked at while stopping only; an event would cost each request
            await asyncio.sleep(_LOOK_SECONDS)
        self.handle_quit_signal()
