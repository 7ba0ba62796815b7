"""The log: lines of JSON, bounded in length and in number, and nothing that was not said on purpose."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from authd import audit
from authd.audit import REFUSALS_PER_SECOND, DecisionLog, configure_logging, log_event
from tests.authd.house import NOW, Clock


@contextlib.contextmanager
def logging_as_served() -> Iterator[None]:
    """As under `authd serve`; within a test, where standard error is the one that `capsys` reads."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging()
    # What a test before this one logged too often would be told here.
    audit._FLOODS._counts.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def lines_in(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_with_time_level_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as_served():
        log_event("login.failed", level="warning", idp="corp", reason=None, count=3)

    (line,) = lines_in(capsys)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "login.failed", "idp": "corp", "count": 3}


@pytest.mark.parametrize("text", ["two\nlines\r\n", '"quoted" \\', "é \u2028 \x00 \x1b[31m", "\udcff"])
def test_whatever_a_visitor_sends_stays_within_its_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with logging_as_served():
        log_event("access.decision", path=text)

    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert written.isascii()
    assert "\x1b" not in written
    assert json.loads(written)["path"] == text


def test_a_long_value_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as_served():
        log_event("access.decision", path="x" * 2_000_000)

    assert len(capsys.readouterr().err) < 600


def test_libraries_log_lines_of_json_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as_served():
        logging.getLogger("some.library").warning("odd: %s", 'a "thing"')
        logging.getLogger("some.library").info("not wanted")

    (line,) = lines_in(capsys)
    assert (line["event"], line["message"], line["logger"]) == ("library.message", 'odd: a "thing"', "some.library")


def test_a_fault_shows_where_it_happened_and_not_what_it_said(capsys: pytest.CaptureFixture[str]) -> None:
    token = ".".join(["eyJhbGciOiJSUzI1NiJ9", "payload", "signature"])
    try:
        raise ValueError(token)
    except ValueError:
        with logging_as_served():
            log_event("error.unhandled", level="error", exc_info=True, error="ValueError")

    (line,) = lines_in(capsys)
    assert "test_audit.py" in json.dumps(line)
    assert token not in json.dumps(line)


class Written:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


def test_an_allowed_request_is_logged_once_in_a_session_and_minute() -> None:
    clock, written = Clock(NOW - NOW % 60), Written()
    log = DecisionLog(clock=clock, log=written)

    for seconds in (0, 1, 59):
        clock.now = NOW - NOW % 60 + seconds
        log.allowed("session grafana", lambda: {"n": 1})
        log.allowed("session wiki", lambda: {"n": 2})
    assert [fields["n"] for _, fields in written.lines] == [1, 2]

    clock.now += 1
    log.allowed("session grafana", lambda: {"n": 3})
    assert written.lines[-1] == ("access.decision", {"n": 3})


def test_a_flood_of_refusals_is_sampled_and_what_was_left_out_is_said() -> None:
    clock, written = Clock(), Written()
    log = DecisionLog(clock=clock, log=written)

    for number in range(REFUSALS_PER_SECOND + 7):
        log.refused(lambda number=number: {"n": number})  # type: ignore[misc]
    assert [fields["n"] for _, fields in written.lines] == list(range(REFUSALS_PER_SECOND))

    clock.now += 1
    log.refused(lambda: {"n": "next"})
    assert written.lines[-2:] == [
        ("access.refusals_not_logged", {"level": "warning", "count": 7}),
        ("access.decision", {"n": "next"}),
    ]


def test_a_line_that_is_not_written_costs_nothing_to_make() -> None:
    log = DecisionLog(clock=Clock(), log=Written())
    for _ in range(REFUSALS_PER_SECOND):
        log.refused(dict)

    log.refused(lambda: pytest.fail("made for nothing"))


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    with logging_as_served():
        closed = io.StringIO()
        closed.close()
        for stream in (Full(), closed):
            logging.getLogger().handlers[0].setStream(stream)  # type: ignore[attr-defined]
            log_event("access.decision", outcome="allow")
