"""The configuration file to a `Config`, or a ConfigError that lists every mistake with its line."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ipranges.config.contradictions import find_contradictions
from ipranges.config.document import Document, parse_document, render_path
from ipranges.config.document import Path as KeyPath
from ipranges.config.schema import Config
from ipranges.config.sources import SOURCE_TYPES, SourceConfig
from ipranges.config.targets import TARGET_KINDS, TARGET_TYPES
from ipranges.errors import ConfigError, ConfigMistake


def load_config(path: Path) -> Config:
    """Read and verify a file; raises ConfigError, also for one that is missing or cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), (ConfigMistake(0, "", f"cannot be read: {error.strerror}"),)) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), (ConfigMistake(0, "", "is not UTF-8 text"),)) from None
    return parse_config(text, source=str(path))


def parse_config(text: str, *, source: str) -> Config:
    """Text to a `Config`; raises ConfigError with every mistake. `source` names the file in messages."""
    document = parse_document(text)
    if document.mistakes and document.value is None:
        raise ConfigError(source, document.mistakes)
    if not isinstance(document.value, dict):
        raise ConfigError(source, (ConfigMistake(1, "", "must be a map of keys such as `sources`"),))
    mistakes = list(document.mistakes)
    config: Config | None = None
    try:
        config = Config.model_validate(document.value)
    except ValidationError as error:
        details = [detail for detail in error.errors() if not _is_echo(detail)]
        mistakes += [_explain(detail, document) for detail in details]
    mistakes += find_contradictions(document)
    if mistakes or config is None:
        ordered = sorted(set(mistakes), key=lambda mistake: (mistake.line, mistake.key))
        raise ConfigError(source, tuple(ordered))
    return config


def _is_echo(detail: Any) -> bool:
    """Whether pydantic calls a list empty only because what stands in it has mistakes of its own."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _explain(detail: Any, document: Document) -> ConfigMistake:
    path = _plain_path(detail["loc"])
    line, key = document.line_of(path), render_path(path)
    kind, context = detail["type"], detail.get("ctx", {})
    value = "" if kind == "missing" or isinstance(detail["input"], dict | list) else repr(detail["input"])
    if kind == "extra_forbidden":
        return _explain_unknown_key(path, line, key)
    if kind == "missing":
        allowed = ", ".join(SOURCE_TYPES) if key.endswith("type") else ""
        return ConfigMistake(line, key, "is missing", "", allowed)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = context.get("tag", "")
        return ConfigMistake(line, f"{key}.type", "is not a kind of target", repr(tag), ", ".join(TARGET_TYPES))
    if kind == "literal_error":
        return ConfigMistake(line, key, "is not one of the known words", value, context["expected"])
    message = detail["msg"].removeprefix("Value error, ")
    return ConfigMistake(line, key, message[:1].lower() + message[1:], value)


def _explain_unknown_key(path: KeyPath, line: int, key: str) -> ConfigMistake:
    known = _known_keys(path)
    near = get_close_matches(str(path[-1]), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return ConfigMistake(line, key, f"is not a known key{hint}", "", ", ".join(known))


def _known_keys(path: KeyPath) -> list[str]:
    if path[0] == "sources":
        model: Any = SourceConfig
        if "auto_approve" in path[:-1]:
            return ["sightings", "hours"]
    elif path[0] == "targets":
        return sorted({field.alias or name for kind in TARGET_KINDS for name, field in kind.model_fields.items()})
    else:
        model = Config
        if len(path) > 1 and isinstance(Config.model_fields[str(path[0])].default, object):
            model = type(Config.model_fields[str(path[0])].default)
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _plain_path(location: tuple[str | int, ...]) -> KeyPath:
    """pydantic's location without the tags of unions, which are no keys of the file."""
    if len(location) > 2 and location[0] == "targets" and location[2] in TARGET_TYPES:
        location = location[:2] + location[3:]
    return tuple(part for part in location if not (isinstance(part, str) and "[" in part))
