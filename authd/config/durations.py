"""Durations as Go writes them and as Cloudflare's API takes them: `300ms`, `90s`, `2h45m`.

Source: Go's time.ParseDuration. Days are no unit there and are none here: a day has no fixed length.
"""

from __future__ import annotations

import re
from fractions import Fraction

_UNIT_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)

ALLOWED = "a duration such as 90s, 30m, 24h or 2h45m"


def parse_duration_seconds(text: str) -> int:
    """`2h45m` to 9900. Raises ValueError for anything else, for negative and for broken seconds.

    `0` and `0s` are zero; whether zero makes sense is for the setting to say.
    """
    if text == "0":
        return 0
    if not text or "".join(part.group() for part in _PART.finditer(text)) != text:
        raise ValueError("is not a duration")
    nanoseconds = sum((Fraction(number) * _UNIT_NANOSECONDS[unit] for number, unit in _PART.findall(text)), Fraction())
    seconds = nanoseconds / 10**9
    if seconds.denominator != 1:
        raise ValueError("must be whole seconds")
    return int(seconds)


def render_duration(seconds: int) -> str:
    """9900 to `2h45m`, the shortest text that `parse_duration_seconds` reads back."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
