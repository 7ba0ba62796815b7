"""From plain values to the typed configuration, and pydantic's errors in the operator's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authd.config.mistakes import (
    Path,
    PlacedMistake,
    SettingError,
    SettingsError,
    render_allowed,
    render_value,
)
from authd.config.readers import BASE_DIR
from authd.config.schema import Config, Section

_MESSAGES = {
    "missing": ("is missing", ""),
    "tuple_type": ("must be a list", "[first, second], or one item a line after a dash"),
    "model_type": ("must be a mapping", "key: value"),
    "dict_type": ("must be a mapping", "key: value"),
}


def validate_shape(raw: Mapping[str, Any], base_dir: FilePath) -> Config | list[PlacedMistake]:
    """The configuration, or every mistake in the shape of `raw`."""
    try:
        return Config.model_validate(raw, context={BASE_DIR: base_dir})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return [mistake for detail in details for mistake in _describe(detail, raw)]


def find_value(raw: Any, path: Path) -> Any:
    """What stands at a path, None where nothing does."""
    for part in path:
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        else:
            return None
    return raw


def _describe(detail: ErrorDetails, raw: Mapping[str, Any]) -> Iterator[PlacedMistake]:
    location = tuple(detail["loc"])
    path = _without_kinds(location)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, SettingsError):
        for mistake in cause.mistakes:
            yield _place(mistake, path, raw)
    elif isinstance(cause, SettingError):
        yield _place(cause, path, raw)
    elif detail["type"] == "extra_forbidden":
        yield _describe_unknown_key(location)
    elif detail["type"] == "literal_error":
        yield _describe_unknown_word(location, raw)
    elif detail["type"] == "union_tag_not_found":
        yield PlacedMistake((*path, "type"), "is missing", "", ", ".join(_find_kinds(location)))
    elif detail["type"] == "union_tag_invalid":
        yield _describe_unknown_kind(location, raw)
    else:
        message, allowed = _MESSAGES.get(detail["type"], (detail["msg"], ""))
        value = "" if detail["type"] == "missing" else render_value(find_value(raw, path), path)
        yield PlacedMistake(path, message, value, allowed)


def _place(mistake: SettingError, base: Path, raw: Mapping[str, Any]) -> PlacedMistake:
    path = (*base, *mistake.path)
    value = mistake.value
    if value is None:
        value = render_value(find_value(raw, path), path)
    return PlacedMistake(path, mistake.message, value, mistake.allowed)


def _describe_unknown_key(location: Path) -> PlacedMistake:
    """The value of an unknown key is never shown: it may be a secret that somebody put inline."""
    key, path = str(location[-1]), _without_kinds(location)
    section = _find_section(location[:-1])
    if section is None:
        return PlacedMistake(path, "unknown key", key)
    if key in section.not_built:
        known = "is a key that this version of authd does not have"
        return PlacedMistake(path, known, key, ", ".join(section.model_fields))
    others = [kind for kind, other in _find_kinds(location[:-2]).items() if key in other.model_fields]
    message = f"is a key of type {' and '.join(others)} only" if others else "unknown key"
    return PlacedMistake(path, message, key, render_allowed(section.model_fields, key))


def _describe_unknown_word(location: Path, raw: Mapping[str, Any]) -> PlacedMistake:
    section, path = _find_section(location[:-1]), _without_kinds(location)
    words = get_args(section.model_fields[str(path[-1])].annotation) if section is not None else ()
    value = find_value(raw, path)
    return PlacedMistake(
        path, "is not one of the words allowed", render_value(value, path), render_allowed(words, str(value))
    )


def _describe_unknown_kind(location: Path, raw: Mapping[str, Any]) -> PlacedMistake:
    path = (*_without_kinds(location), "type")
    value = find_value(raw, path)
    allowed = render_allowed(_find_kinds(location), str(value))
    return PlacedMistake(path, "is not one of the words allowed", render_value(value, path), allowed)


def _without_kinds(location: Path) -> Path:
    """pydantic names the kind of a section behind its place, where there are several; in the file it is no place."""
    return tuple(part for at, part in enumerate(location) if part not in _find_kinds(location[:at]))


def _find_section(location: Path) -> type[Section] | None:
    """The schema's class of the mapping at a location of pydantic's."""
    kinds = _walk(location)
    return next(iter(kinds.values())) if len(kinds) == 1 else None


def _find_kinds(location: Path) -> Mapping[str, type[Section]]:
    """The kinds of section that may stand at an item of a list, by their `type`; empty where there is only one."""
    kinds = _walk(location)
    return kinds if len(kinds) > 1 and isinstance(location[-1], int) else {}


def _walk(location: Path) -> Mapping[str, type[Section]]:
    found: Mapping[str, type[Section]] = {"": Config}
    for part in location:
        if isinstance(part, int):
            continue
        if len(found) > 1:
            found = {part: found[part]} if part in found else {}
        else:
            field = next((section.model_fields.get(part) for section in found.values()), None)
            found = {_kind_of(section): section for section in _sections_in(field.annotation)} if field else {}
    return found


def _kind_of(section: type[Section]) -> str:
    field = section.model_fields.get("type")
    return str(next(iter(get_args(field.annotation)), "")) if field else ""


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections_in(argument)]
