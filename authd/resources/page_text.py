"""Small pieces of text on the pages: what is printable, how long to wait, how to read a reference."""

from __future__ import annotations

import re
from typing import TypeVar

from markupsafe import Markup

Value = TypeVar("Value")

# Lone surrogates cannot be encoded as UTF-8, so that one of them would turn a page into a 500;
# control characters are errors in HTML, but for tab and line ends; and with the explicit direction
# marks (Unicode TR9) an account could be made to read as another one.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_GROUP_LENGTH = 4


def render_printable(value: Value) -> Value | str:
    """Return text with U+FFFD for every character that a page cannot carry; other values as they are."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value


def render_in_groups(reference: str) -> list[str]:
    """Cut a reference of letters and digits into groups of four, easy to read aloud; others stay whole."""
    if not (reference.isascii() and reference.isalnum()):
        return [reference]
    return [reference[start : start + _GROUP_LENGTH] for start in range(0, len(reference), _GROUP_LENGTH)]


def render_waiting_time(seconds: int) -> str:
    """Return "1 second", "45 seconds", "2 minutes": whole minutes from two on, rounded up."""
    if seconds < 120:
        count, unit = max(seconds, 1), "second"
    else:
        count, unit = -(-seconds // 60), "minute"
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
