"""On which line each value of a YAML text stands. Read only when there is a mistake to report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from authd.config.mistakes import Path


def find_lines(text: str, paths: set[Path]) -> dict[Path, int]:
    """The line of each path, or of its nearest ancestor that is written down. Lines count from 1.

    What an alias repeats is found at the alias. The text has been read by `parse_document` before.
    """
    wanted = {path[:length] for path in paths for length in range(len(path) + 1)}
    found: dict[Path, int] = {(): 1}
    for path, line in _walk_lines(text):
        if path in wanted:
            found.setdefault(path, line)
    return {path: _find_nearest(path, found) for path in paths}


def line_of(event: Any) -> int:
    """The line on which a parser event begins, from 1."""
    line: int = event.start_mark.line + 1
    return line


def _find_nearest(path: Path, lines: dict[Path, int]) -> int:
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _walk_lines(text: str) -> Iterator[tuple[Path, int]]:
    """Every path that is written in the text (not what an alias repeats) with its line."""
    next_event = yaml.CSafeLoader(text).get_event
    next_event()
    next_event()
    yield from _walk_value(next_event, next_event(), ())


def _walk_value(next_event: Any, event: Any, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(event, yaml.SequenceStartEvent):
        position = 0
        while not isinstance(item := next_event(), yaml.SequenceEndEvent):
            yield (*path, position), line_of(item)
            yield from _walk_value(next_event, item, (*path, position))
            position += 1
    elif isinstance(event, yaml.MappingStartEvent):
        while not isinstance(key := next_event(), yaml.MappingEndEvent):
            yield (*path, key.value), line_of(key)
            yield from _walk_value(next_event, next_event(), (*path, key.value))
