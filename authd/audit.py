"""The log: JSON lines on stderr, one an event, with stable names and without a secret in them.

    {"time": "2026-11-23T17:00:00.123Z", "level": "info", "event": "access.decision", "outcome": "deny", ...}

`DecisionLog` keeps the volume bounded: an allowed request is logged the first time in a session and minute, a refused
one always, up to REFUSALS_PER_SECOND; what was left out is counted and said.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, TextIO

_ROOT = logging.getLogger()
_LOGGER = logging.getLogger("authd")
REFUSALS_PER_SECOND = 50
OUTAGE_LINE_SECONDS = 60
_REMEMBERED_SESSIONS = 10_000
# A value from outside is cut at this length: a log line is no place for a 2 MB header.
_MAX_VALUE = 300
_MAX_CAUSES = 5
_ENCODER = json.JSONEncoder(ensure_ascii=True, default=str)
_LEVELS = logging.getLevelNamesMapping()


class _JsonLines(logging.Formatter):
    """Renders a record of ours (its fields in `record.fields`), or of a library, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        event = record.getMessage()
        if fields is None:
            event, fields = "library.message", {"message": _bounded(event), "logger": record.name}
        if record.exc_info and record.exc_info[1]:
            fields = {**fields, "traceback": _bounded(render_trace(record.exc_info[1]))}
        return _render_line(record.created, record.levelname.lower(), event, fields)


class _Lines(logging.StreamHandler[TextIO]):
    """Where they are written to."""

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """One event of ours, its strings cut. The record that `logging` would make of it first costs as much as the
        line."""
        try:
            with self.lock or nullcontext():
                self.stream.write(_render_line(time.time(), level, event, fields, _MAX_VALUE) + "\n")
                self.stream.flush()
        except (OSError, ValueError):  # as `logging` has it: a log that cannot be written stops no request
            return


def _render_line(seconds: float, level: str, event: str, fields: dict[str, Any], longest: int | None = None) -> str:
    """None fields are left out, strings are cut. Names of fields are our own words, which need no escape."""
    parts = [f'{{"time": "{_render_time(seconds)}", "level": "{level}", "event": {encode_basestring_ascii(event)}']
    for name, value in fields.items():
        if value is not None:
            # Nearly all are strings. An encoder that is given the whole is made anew for each line.
            text = encode_basestring_ascii(value[:longest]) if isinstance(value, str) else _ENCODER.encode(value)
            parts.append(f', "{name}": {text}')
    parts.append("}")
    return "".join(parts)


def _render_time(seconds: float) -> str:
    return f"{_render_second(int(seconds))}.{int(seconds % 1 * 1000):03}Z"


@lru_cache(maxsize=2)
def _render_second(second: int) -> str:
    """Most lines stand in the same second as the one before."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def render_trace(error: BaseException | None) -> str:
    """Where an error and its causes arose, the last one first: types, files and lines, but no words.

    The text of an error is left out: a library's may quote the token or the cookie that it stumbled over.
    """
    parts: list[str] = []
    while error is not None and len(parts) < _MAX_CAUSES:
        parts.append(type(error).__name__ + "\n" + "".join(traceback.format_tb(error.__traceback__)))
        error = error.__cause__ or error.__context__
    return "caused by ".join(parts)


def _bounded(text: str) -> str:
    return text[:_MAX_VALUE] + "..." if len(text) > 10 * _MAX_VALUE else text


def configure_logging(level: str = "info") -> None:
    """Send everything that is logged in this process, libraries included, to stderr as JSON lines."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(_JsonLines())
    _ROOT.handlers[:] = [handler]
    _ROOT.setLevel(logging.WARNING)
    _LOGGER.setLevel(level.upper())
    # Nobody reads these of a line, and they cost as much as the line itself.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # As "Optimization" in the documentation of `logging` has it: nobody asks which line of code logged.
    logging._srcfile = None


def log_event(event: str, *, level: str = "info", exc_info: bool = False, **fields: Any) -> None:
    """Log one event, such as `login.failed`. The caller passes no token, code, cookie or secret, ever.

    None fields are left out; strings are cut at 300 characters. Of warnings and errors of one event, those beyond
    REFUSALS_PER_SECOND are left out and counted: anybody can make a login fail.
    """
    number = _LEVELS[level.upper()]
    if _LOGGER.isEnabledFor(number) and (number < logging.WARNING or _FLOODS.admits(event)):
        if len(_ROOT.handlers) == 1 and isinstance(lines := _ROOT.handlers[0], _Lines) and not exc_info:
            lines.write(level, event, fields)
            return
        kept = {name: value[:_MAX_VALUE] if isinstance(value, str) else value for name, value in fields.items()}
        _LOGGER.log(number, event, extra={"fields": kept}, exc_info=exc_info)


class _Floods:
    """Which lines are too many. What was left out of an event is told with its next line in a later second."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def admits(self, event: str) -> bool:
        second = int(time.monotonic())
        counted, count = self._counts.get(event, (second, 0))
        if counted != second:
            if count > REFUSALS_PER_SECOND:
                fields = {"of": event, "count": count - REFUSALS_PER_SECOND}
                _LOGGER.warning("log.left_out", extra={"fields": fields})
            count = 0
        self._counts[event] = second, count + 1
        return count < REFUSALS_PER_SECOND


_FLOODS = _Floods()


class OutageLog:
    """An error that everybody meets while something is down: told once a minute for each `key`, and counted."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, log: Callable[..., None] = log_event) -> None:
        self._clock = clock
        self._log = log
        self._told: dict[str, tuple[float, int]] = {}

    def report(self, event: str, *, key: str, **fields: Any) -> None:
        """Log, or count. Keys are few and our own."""
        told_at, left_out = self._told.get(key, (float("-inf"), 0))
        now = self._clock()
        if now - told_at < OUTAGE_LINE_SECONDS:
            self._told[key] = told_at, left_out + 1
            return
        self._told[key] = now, 0
        self._log(event, level="error", left_out=left_out or None, **fields)


class DecisionLog:
    """Decides which decisions are logged. One for each worker."""

    def __init__(self, *, clock: Callable[[], float], log: Callable[..., None] = log_event) -> None:
        self._clock = clock
        self._log = log
        self._minute_by_session: dict[tuple[str, str], int] = {}
        self._second = 0
        self._refusals = 0

    def allowed(self, session_key: tuple[str, str], fields: Callable[[], dict[str, Any]]) -> None:
        """Log an allowed request unless the same session and application (`session_key`) was logged in this minute."""
        minute = int(self._clock()) // 60
        if self._minute_by_session.get(session_key) == minute:
            return
        if len(self._minute_by_session) >= _REMEMBERED_SESSIONS:
            self._minute_by_session.clear()
        self._minute_by_session[session_key] = minute
        self._log("access.decision", **fields())

    def refused(self, fields: Callable[[], dict[str, Any]]) -> None:
        """Log a refusal, unless this second has already seen REFUSALS_PER_SECOND of them."""
        second = int(self._clock())
        if second != self._second:
            left_out = self._refusals - REFUSALS_PER_SECOND
            self._second, self._refusals = second, 0
            if left_out > 0:
                self._log("access.refusals_not_logged", level="warning", count=left_out)
        self._refusals += 1
        if self._refusals <= REFUSALS_PER_SECOND:
            self._log("access.decision", **fields())
