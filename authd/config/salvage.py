"""More mistakes of a file that already has some: what is sound in it is checked on.

An operator who fixes ten misspelt keys should not then learn of ten unknown groups. So the places
that are wrong are cut out of a copy and the rest goes through all checks again. What could only be
a consequence of the cut is not reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import Any

from authd.config.checks import check_whole
from authd.config.mistakes import Path, PlacedMistake
from authd.config.schema import Config
from authd.config.shape import validate_shape

MAX_ROUNDS = 8
_PLACEHOLDERS = {"team_domain": "team.invalid"}
"""Required at the top, where there is no parent to cut."""

Places = dict[Path, list[int]]
"""For each list of the copy, the positions that its items have in the file."""


def check_salvaged(raw: dict[str, Any], known: list[PlacedMistake], base_dir: FilePath) -> list[PlacedMistake]:
    """The mistakes beyond `known`, as far as the sound rest of `raw` shows them."""
    cut = {_find_cuttable(raw, mistake.path, set()) for mistake in known}
    found: list[PlacedMistake] = []
    for _ in range(MAX_ROUNDS):
        places: Places = {}
        rest = {**_PLACEHOLDERS, **_copy_without(raw, cut, places)}
        result = validate_shape(rest, base_dir)
        mistakes = check_whole(result, raw) if isinstance(result, Config) else result
        restored = [_restore(mistake, places) for mistake in mistakes]
        found += [mistake for mistake in restored if not _touches(mistake.path, cut)]
        if isinstance(result, Config):
            break
        cut |= {_find_cuttable(raw, mistake.path, cut) for mistake in restored}
    return found


def _find_cuttable(raw: Any, path: Path, cut: set[Path]) -> Path:
    """The innermost place on the path that is in the file and not cut yet."""
    existing: Path = ()
    for length, part in enumerate(path, start=1):
        if not _holds(raw, part):
            break
        raw = raw[part]
        if path[:length] not in cut:
            existing = path[:length]
    return existing


def _holds(raw: Any, part: str | int) -> bool:
    if isinstance(raw, dict):
        return part in raw
    return isinstance(raw, list) and isinstance(part, int) and part < len(raw)


def _copy_without(raw: dict[str, Any], cut: set[Path], places: Places) -> dict[str, Any]:
    # Only what leads to a cut is copied; the rest is shared with the file's own values.
    branches = {path[:length] for path in cut for length in range(len(path))}

    def copy(value: Any, old: Path, new: Path) -> Any:
        if old not in branches:
            return value
        if isinstance(value, dict):
            return {key: copy(part, (*old, key), (*new, key)) for key, part in value.items() if (*old, key) not in cut}
        kept = [position for position in range(len(value)) if (*old, position) not in cut]
        places[new] = kept
        return [copy(value[at], (*old, at), (*new, position)) for position, at in enumerate(kept)]

    result: dict[str, Any] = copy(raw, (), ())
    return result


def _restore(mistake: PlacedMistake, places: Places) -> PlacedMistake:
    """The mistake with the position that it has in the file."""
    old: Path = ()
    for length, part in enumerate(mistake.path):
        kept = places.get(mistake.path[:length])
        old = (*old, kept[part] if kept is not None and isinstance(part, int) else part)
    return PlacedMistake(old, mistake.message, mistake.value, mistake.allowed)


def _touches(path: Path, cut: Iterable[Path]) -> bool:
    """Whether the place is cut, lies in a cut, or holds one."""
    return any(path[: len(place)] == place[: len(path)] for place in cut)
