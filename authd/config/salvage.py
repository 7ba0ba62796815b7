"""More mistakes of a file that already has some: what is sound in it is checked on.

An operator who fixes ten misspelt keys should not then learn of ten unknown groups. So in a copy the
places that are wrong are cut out, or filled where the schema needs something there, and the copy
goes through all checks. What could only be a consequence of that is not reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

from authd.config.checks import check_whole
from authd.config.mistakes import Path, PlacedMistake
from authd.config.schema import Config
from authd.config.shape import validate_shape

MAX_ROUNDS = 8


def _fixed(value: Any) -> Callable[[int], Any]:
    return lambda number: value


def _named(number: int) -> str:
    return f"placeholder-{number}"


_EVERYONE = _fixed([{"everyone": True}])
# Not the type of an identity provider: which keys it should have is not known without it, so it is cut out.
# Keys that a section cannot do without, by the words of their path; the number keeps names unique.
_FILLINGS: Mapping[Path, Callable[[int], Any]] = {
    ("team_domain",): _fixed("team.invalid"),
    ("listen_secret_file",): _fixed("/dev/null"),
    ("identity_providers", "id"): _named,
    ("identity_providers", "issuer"): _fixed("https://idp.invalid"),
    ("identity_providers", "client_id"): _named,
    ("identity_providers", "mail"): _fixed({"server": "mail.invalid", "sender": "login@mail.invalid"}),
    ("identity_providers", "mail", "server"): _fixed("mail.invalid"),
    ("identity_providers", "mail", "sender"): _fixed("login@mail.invalid"),
    ("token_issuers", "id"): _named,
    ("token_issuers", "issuer"): lambda number: f"https://{_named(number)}.invalid",
    ("token_issuers", "audiences"): _fixed(["placeholder"]),
    ("groups", "name"): _named,
    ("groups", "include"): _EVERYONE,
    ("lists", "name"): _named,
    ("applications", "id"): _named,
    ("applications", "domains"): lambda number: [f"{_named(number)}.invalid"],
    ("applications", "policies", "name"): _named,
    ("applications", "policies", "decision"): _fixed("allow"),
    ("applications", "policies", "include"): _EVERYONE,
}

Places = dict[Path, list[int]]
"""For each list of the copy from which items were cut, the positions that the rest has in the file."""


def check_salvaged(raw: dict[str, Any], known: list[PlacedMistake], base_dir: FilePath) -> list[PlacedMistake]:
    """The mistakes beyond `known`, as far as the sound rest of `raw` shows them."""
    wrong = _find_wrong_places(raw, known, set())
    found: list[PlacedMistake] = []
    for _ in range(MAX_ROUNDS):
        above = {place[:length] for place in wrong for length in range(len(place))}
        places: Places = {}
        result = validate_shape(_copy_sound(raw, wrong, above, places), base_dir)
        mistakes = check_whole(result, raw) if isinstance(result, Config) else result
        restored = [_restore(mistake, places) for mistake in mistakes]
        found += [mistake for mistake in restored if not _touches(mistake.path, wrong, above)]
        further = _find_wrong_places(raw, restored, wrong) - wrong
        if isinstance(result, Config) or not further:
            break
        wrong |= further
    told = set(known)
    return [mistake for mistake in dict.fromkeys(found) if mistake not in told]


def _find_wrong_places(raw: Any, mistakes: list[PlacedMistake], wrong: set[Path]) -> set[Path]:
    # The document itself cannot be cut.
    return {_find_wrong_place(raw, mistake.path, wrong) for mistake in mistakes} - {()}


def _find_wrong_place(raw: Any, path: Path, wrong: set[Path]) -> Path:
    """The innermost place on the path that can be filled, or is in the file, and is not dealt with yet."""
    place: Path = ()
    for length, part in enumerate(path, start=1):
        candidate = path[:length]
        is_there = _holds(raw, part)
        if candidate not in wrong and (is_there or _words(candidate) in _FILLINGS):
            place = candidate
        if not is_there:
            break
        raw = raw[part]
    return place


def _holds(raw: Any, part: str | int) -> bool:
    if isinstance(raw, dict):
        return part in raw
    return isinstance(raw, list) and isinstance(part, int) and part < len(raw)


def _words(path: Path) -> Path:
    return tuple(part for part in path if isinstance(part, str))


def _copy_sound(raw: dict[str, Any], wrong: set[Path], above: set[Path], places: Places) -> dict[str, Any]:
    fillings: dict[Path, dict[str, Any]] = {}
    for number, place in enumerate(sorted(wrong, key=str)):
        fill = _FILLINGS.get(_words(place))
        if fill is not None:
            fillings.setdefault(place[:-1], {})[str(place[-1])] = fill(number)

    def copy(value: Any, old: Path, new: Path) -> Any:
        # Only what leads to a wrong place is copied; the rest is shared with the file's own values.
        if old not in above:
            return value
        if isinstance(value, dict):
            kept = {key: part for key, part in value.items() if (*old, key) not in wrong}
            copied = {key: copy(part, (*old, key), (*new, key)) for key, part in kept.items()}
            return {**copied, **fillings.get(old, {})}
        positions = [position for position in range(len(value)) if (*old, position) not in wrong]
        places[new] = positions
        return [copy(value[at], (*old, at), (*new, position)) for position, at in enumerate(positions)]

    result: dict[str, Any] = copy(raw, (), ())
    return result


def _restore(mistake: PlacedMistake, places: Places) -> PlacedMistake:
    """The mistake with the position that it has in the file."""
    old: Path = ()
    for length, part in enumerate(mistake.path):
        positions = places.get(mistake.path[:length])
        old = (*old, positions[part] if positions is not None and isinstance(part, int) else part)
    return PlacedMistake(old, mistake.message, mistake.value, mistake.allowed)


def _touches(path: Path, wrong: set[Path], above: set[Path]) -> bool:
    """Whether the place holds a wrong one, is one, or lies in one."""
    return path in above or any(path[:length] in wrong for length in range(1, len(path) + 1))
