"""Are the files of ours that nginx includes those of this version and this configuration?

An older copy beside newer files passes `nginx -t`, and shows an application no token or asks authd in words that it no
longer understands. So all that nginx reads is looked through, wherever it lies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

# What `nginx -T` writes before each file.
_FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
# The first words of each of our files. Whoever deploys it may have put a line of their own above.
_HEADING = re.compile(r"^# (authd-[a-z-]+\.conf): ", re.MULTILINE)
_HEADING_WITHIN = 500
# It has the listen lines of a machine, which are its operator's to write.
_YOURS = frozenset({"authd-default.conf"})


class Finding(StrEnum):
    """What is to be said of a file."""

    CURRENT = "current"
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    YOURS = "yours"


@dataclass(frozen=True, slots=True)
class Compared:
    """A file that nginx includes, and the `name` of ours that it is. `line` is the number of the first one that is
    another, 0 for none. What stands there is not told: it may be the secret of a listener.
    """

    path: str
    name: str
    finding: Finding
    line: int = 0


def split_dump(dump: str) -> dict[str, str]:
    """The files of what `nginx -T` printed, by their paths. What stands before the first one is left out."""
    _, *parts = _FILE.split(dump)
    return {path: text.removeprefix("\n") for path, text in zip(parts[::2], parts[1::2], strict=True)}


def compare_files(included: Mapping[str, str], rendered: Mapping[str, str]) -> list[Compared]:
    """Each of `included` (path to text) that is or was one of ours, beside what stands in `rendered` (name to text).

    Not found: one whose heading was removed, and lines that were copied into another file.
    """
    return [
        _compare(path, heading, text, rendered.get(heading[1]))
        for path, text in included.items()
        if (heading := _HEADING.search(text, 0, _HEADING_WITHIN))
    ]


def _compare(path: str, heading: re.Match[str], text: str, wanted: str | None) -> Compared:
    name = heading[1]
    if wanted is None:
        return Compared(path, name, Finding.UNKNOWN)
    if name in _YOURS:
        return Compared(path, name, Finding.YOURS)
    # nginx ends each file with one line break more.
    found, expected = text[heading.start() :].rstrip().splitlines(), wanted.rstrip().splitlines()
    if found == expected:
        return Compared(path, name, Finding.CURRENT)
    alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(found, expected, strict=False))))
    above = text.count("\n", 0, heading.start())
    return Compared(path, name, Finding.DIFFERS, above + alike + 1)
