"""What is said about a mistake: where it is, what stands there, what is allowed instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]
"""Where a value stands: `("applications", 0, "domains", 1)`."""

MAX_SHOWN_CHARACTERS = 60
_SECRET_WORDS = re.compile(r"secret|passw|passphrase|token|credential|private|(^|_)(pin|key)$", re.IGNORECASE)
_USER_INFO = re.compile(r"//[^/]*@")


class SettingError(ValueError):
    """Raised by a setting's own check. `path` leads from the setting to the part that is wrong.

    `value` is what is shown as "got"; None shows what stands at the place.
    """

    def __init__(self, message: str, *, path: Path = (), allowed: str = "", value: str | None = None) -> None:
        self.message = message
        self.path = path
        self.allowed = allowed
        self.value = value
        super().__init__(message)


class SettingsError(ValueError):
    """Raised where one setting holds several mistakes."""

    def __init__(self, mistakes: Iterable[SettingError]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(mistake.message for mistake in self.mistakes))


def raise_mistakes(mistakes: Iterable[SettingError]) -> None:
    """Raise SettingsError if there is any."""
    found = tuple(mistakes)
    if found:
        raise SettingsError(found)


@dataclass(frozen=True, slots=True)
class PlacedMistake:
    """A mistake whose line is not known yet."""

    path: Path
    message: str
    value: str = ""
    allowed: str = ""


def render_path(path: Path) -> str:
    """`("applications", 0, "name")` to `applications[0].name`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_shorten(part)}" if text else _shorten(part)
    return text or "document"


def render_value(value: Any, path: Path) -> str:
    """A value as it may be shown: short, on one line, and nothing where the key speaks of secrets."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if any(isinstance(part, str) and _SECRET_WORDS.search(part) for part in path):
        return ""
    # A URL may carry a password before its host, whatever the key is called.
    return _shorten(_USER_INFO.sub("//...@", str(value))) if value != "" else "empty text"


def render_allowed(allowed: Iterable[str], unknown: str) -> str:
    """The words that are allowed, and the one that was probably meant."""
    words = list(allowed)
    nearest = get_close_matches(unknown.lower(), words, n=1, cutoff=0.6)
    shown = words if len(words) <= 40 else [*words[:40], "..."]
    hint = f", did you mean {nearest[0]}?" if nearest else ""
    return ", ".join(shown) + hint


def render_line(text: str) -> str:
    """One printable line: a value must not be able to write lines of its own into a log."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _shorten(text: str) -> str:
    line = render_line(text)
    return line if len(line) <= MAX_SHOWN_CHARACTERS else line[: MAX_SHOWN_CHARACTERS - 3] + "..."
