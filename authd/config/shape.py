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
    path = tuple(detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, SettingsError):
        for mistake in cause.mistakes:
            yield _place(mistake, path, raw)
    elif isinstance(cause, SettingError):
        yield _place(cause, path, raw)
    elif detail["type"] == "extra_forbidden":
        yield _describe_unknown_key(path)
    elif detail["type"] == "literal_error":
        yield _describe_unknown_word(path, raw)
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


def _describe_unknown_key(path: Path) -> PlacedMistake:
    """The value of an unknown key is never shown: it may be a secret that somebody put inline."""
    key = str(path[-1])
    section = _find_section(path[:-1])
    if section is not None and key in section.not_built:
        known = "is a key that this version of authd does not have"
        return PlacedMistake(path, known, key, ", ".join(section.model_fields))
    allowed = render_allowed(section.model_fields, key) if section is not None else ""
    return PlacedMistake(path, "unknown key", key, allowed)


def _describe_unknown_word(path: Path, raw: Mapping[str, Any]) -> PlacedMistake:
    section = _find_section(path[:-1])
    words = get_args(section.model_fields[str(path[-1])].annotation) if section is not None else ()
    value = find_value(raw, path)
    return PlacedMistake(
        path, "is not one of the words allowed", render_value(value, path), render_allowed(words, str(value))
    )


def _find_section(path: Path) -> type[Section] | None:
    """The schema's class of the mapping at a path."""
    section: type[Section] | None = Config
    for part in path:
        if section is None:
            return None
        if isinstance(part, str):
            field = section.model_fields.get(part)
            section = _find_section_in(field.annotation) if field is not None else None
    return section


def _find_section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = (_find_section_in(argument) for argument in get_args(annotation))
    return next((section for section in found if section is not None), None)
