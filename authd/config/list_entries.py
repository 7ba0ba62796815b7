"""The entries of a list: those in the configuration and those in a file beside it, one a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from authd.config.mistakes import SettingError, SettingsError

MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_REPORTED = 20
"""Mistakes reported of one file; a wrong file would otherwise bury every other mistake."""

Entry = TypeVar("Entry")


def load_entries(items: Iterable[str], file: Path | None, read: Callable[[str], Entry]) -> list[Entry]:
    """All entries, read with `read` (which raises SettingError). Raises SettingsError with every mistake."""
    mistakes: list[SettingError] = []
    entries: list[Entry] = []
    for position, item in enumerate(items):
        try:
            entries.append(read(item))
        except SettingError as mistake:
            mistakes.append(SettingError(mistake.message, path=("items", position), allowed=mistake.allowed))
    if file is not None:
        entries += _load_file(file, read, mistakes)
    if mistakes:
        raise SettingsError(mistakes)
    return entries


def _load_file(file: Path, read: Callable[[str], Entry], mistakes: list[SettingError]) -> list[Entry]:
    entries: list[Entry] = []
    bad_lines: list[int] = []
    allowed = ""
    try:
        for number, text in _read_lines(file):
            try:
                entries.append(read(text))
            except SettingError as mistake:
                bad_lines.append(number)
                allowed = mistake.allowed
    except SettingError as mistake:
        mistakes.append(mistake)
    # The lines' text is not shown: this may be any file that somebody pointed at by mistake.
    for number in bad_lines[:MAX_REPORTED]:
        message = f"line {number} of this file is no entry of this list"
        mistakes.append(SettingError(message, path=("file",), allowed=allowed))
    return entries


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingError(f"cannot be read: {error.strerror}", path=("file",)) from None
    if len(content) > MAX_FILE_BYTES:
        raise SettingError(f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB", path=("file",))
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise SettingError("is not UTF-8 text", path=("file",)) from None
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text:
            yield number, text
