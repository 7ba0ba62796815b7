"""Every step that authd waits for, as a place where it can be made to fail. Nothing of this is in production code.

The list is found by looking at the program: each `async def` of each class in `authd`. `arm` replaces them in a process
that has not begun to serve (`serve_with_failpoints`). A request then says in its own query what shall go wrong with it,
so that many cases run at once against one server and nobody else notices:

    ?fp=17~challenge~Sessions.find~before~RuntimeError     case 17: in the challenge, before Sessions.find does anything
    ?fp=18~challenge~Access.check+ErrorHandlers.answer_unforeseen~before~RuntimeError    case 18: both of them
    ?fp=19~*~trace                                         case 19: only write down which steps are passed

What was passed and what went wrong is appended to the file that the environment names in AUTHD_FAILPOINT_LOG.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import os
import pkgutil
import re
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import authd
from authd.errors import ProviderUnavailableError, StoreDamagedError, StoreUnavailableError

LOG_VARIABLE = "AUTHD_FAILPOINT_LOG"
# Longer than nginx waits, both tries together.
HANG_SECONDS = 6

ERRORS: dict[str, Callable[[], BaseException]] = {
    "RuntimeError": lambda: RuntimeError("failpoint"),
    "StoreUnavailableError": lambda: StoreUnavailableError("failpoint"),
    "StoreDamagedError": lambda: StoreDamagedError("failpoint"),
    "ProviderUnavailableError": lambda: ProviderUnavailableError("corp", "failpoint", "failpoint"),
    "OperationalError": lambda: sqlite3.OperationalError("disk I/O error"),
    "TimeoutError": lambda: TimeoutError("failpoint"),
    "CancelledError": lambda: asyncio.CancelledError("failpoint"),
}
# What a broken part could give back instead of its answer.
VALUES: dict[str, object] = {"None": None, "True": True, "garbage": b"\x00garbage\xff"}


@dataclass(frozen=True, slots=True)
class Failpoint:
    """One async method: `name` as in `Sessions.find`, and the classes' attributes where it stands."""

    name: str
    owner: type
    attributes: tuple[str, ...]
    function: Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Order:
    """What a request asks for. `where` is a path of authd (`auth`, `challenge`, `app`, `team`) or `*`."""

    case: str
    where: str
    names: str
    position: str = ""
    action: str = ""


_order: ContextVar[Order | None] = ContextVar("order", default=None)
_ORDER = re.compile(r"[?&]fp=([\w.~*+-]+)")


def authd_modules() -> Iterator[ModuleType]:
    """Every module of authd."""
    for found in pkgutil.walk_packages(authd.__path__, "authd."):
        yield importlib.import_module(found.name)


def find_failpoints() -> dict[str, Failpoint]:
    """All of them by name. A method that stands in its class under two names is one."""
    found: dict[str, Failpoint] = {}
    for module in authd_modules():
        for owner in vars(module).values():
            if inspect.isclass(owner) and owner.__module__ == module.__name__ and not getattr(owner, "_is_protocol", 0):
                found |= {point.name: point for point in _failpoints_of(owner)}
    return found


def _failpoints_of(owner: type) -> Iterator[Failpoint]:
    methods = {name: value for name, value in vars(owner).items() if inspect.iscoroutinefunction(value)}
    for function in dict.fromkeys(methods.values()):
        attributes = tuple(name for name, value in methods.items() if value is function)
        yield Failpoint(f"{owner.__name__}.{attributes[0]}", owner, attributes, function)


def arm() -> None:
    """Put every failpoint into this process."""
    for point in find_failpoints().values():
        for attribute in point.attributes:
            setattr(point.owner, attribute, _with_failpoint(point))


def _with_failpoint(point: Failpoint) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(point.function)
    async def step(*args: Any, **kwargs: Any) -> Any:
        order = _order.get()
        if order is None:
            return await point.function(*args, **kwargs)
        if order.names == "trace":
            _write(f"{order.case} passed {point.name}")
        is_meant = point.name in order.names.split("+")
        if is_meant and order.position == "before":
            return await _go_wrong(order, point.name)
        result = await point.function(*args, **kwargs)
        return await _go_wrong(order, point.name) if is_meant else result

    return step


async def _go_wrong(order: Order, name: str) -> object:
    _write(f"{order.case} failed {name}")
    if order.action == "hang":
        await asyncio.sleep(HANG_SECONDS)
    if order.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.action in ERRORS:
        raise ERRORS[order.action]()
    return VALUES[order.action]


def _write(line: str) -> None:
    descriptor = os.open(os.environ[LOG_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def with_orders(app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The ASGI application, taking orders from the query of the visitor's address."""

    async def ordered(scope: dict[str, Any], receive: Any, send: Any) -> None:
        order = _order.set(_find_order(scope["headers"], scope["path"]) if scope["type"] == "http" else None)
        try:
            await app(scope, receive, send)
        finally:
            _order.reset(order)

    ordered.check = _OrderedCheck(app)  # type: ignore[attr-defined]
    return ordered


class _OrderedCheck:
    """The check without ASGI around it. Nothing is answered again: each request has to pass all steps."""

    def __init__(self, app: Any) -> None:
        self._check = app.check
        self.note_unreadable = app.check.note_unreadable

    def answer_again(self, repeat_key: bytes, request_id: bytes) -> None:
        """See `Checks.answer_again`."""

    async def answer(self, repeat_key: bytes, raw: Sequence[tuple[bytes, bytes]]) -> Any:
        """See `Checks.answer`."""
        order = _order.set(_find_order(raw, "/auth"))
        try:
            return await self._check.answer(repeat_key, raw)
        finally:
            _order.reset(order)


def _find_order(headers: Sequence[tuple[bytes, bytes]], path: str) -> Order | None:
    url = dict(headers).get(b"x-original-url", b"").decode("latin-1")
    match = _ORDER.search(url)
    order = Order(*match[1].split("~")) if match else None
    where = path.split("/")[1]
    return order if order and order.where in ("*", where) else None
