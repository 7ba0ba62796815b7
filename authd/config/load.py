"""Text or file to a Config, or to every mistake in it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from authd.config.checks import check_whole
from authd.config.collector import pause_collector
from authd.config.document import MAX_DOCUMENT_CHARACTERS, Document, DocumentError, parse_document
from authd.config.mistakes import PlacedMistake, render_line, render_path
from authd.config.salvage import check_salvaged
from authd.config.schema import Config
from authd.config.shape import validate_shape
from authd.errors import ConfigError, ConfigMistake


def load_config(path: Path) -> Config:
    """Read and check a configuration file.

    Raises ConfigError with every mistake; also where the file is missing, unreadable, empty, too
    large or not UTF-8. Relative paths in it are resolved against its directory.
    """
    try:
        # Bounded before it is read: the path may be a device or somebody's database.
        with path.open("rb") as stream:
            content = stream.read(4 * MAX_DOCUMENT_CHARACTERS + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _refuse(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _refuse(str(path), "is not UTF-8 text") from None
    return parse_config(text, source=str(path), base_dir=path.parent)


def parse_config(text: str, *, source: str, base_dir: Path) -> Config:
    """Check a configuration. `source` names it in errors; relative paths start at `base_dir`.

    Raises ConfigError with EVERY mistake, each with line, key, value and what is allowed, in the
    order of the file. Not checked: that files and variables with secrets exist, that providers answer.
    """
    with pause_collector():
        return _parse(text, source, base_dir)


def render_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the configuration file, for editors. Weaker than `parse_config`."""
    schema = Config.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "authd configuration",
        # Without a team host only where every application has its login somewhere else.
        "anyOf": [
            {"required": ["team_domain"]},
            {
                "required": ["applications"],
                "properties": {"applications": {"minItems": 1, "items": {"required": ["issuer"]}}},
            },
        ],
    }


def _parse(text: str, source: str, base_dir: Path) -> Config:
    try:
        document = parse_document(text)
    except DocumentError as error:
        raise ConfigError(source, (error.mistake,)) from None
    if document.value is None:
        raise _refuse(source, "is empty")
    if not isinstance(document.value, dict):
        raise _refuse(source, "must be a mapping such as team_domain: auth.example.com")
    result = _check(document.value, base_dir)
    if isinstance(result, Config) and not document.mistakes:
        return result
    placed = [] if isinstance(result, Config) else result
    raise ConfigError(source, _order(document, placed))


def _check(raw: dict[str, Any], base_dir: Path) -> Config | list[PlacedMistake]:
    result = validate_shape(raw, base_dir)
    if isinstance(result, Config):
        return check_whole(result, raw) or result
    return result + check_salvaged(raw, result, base_dir)


def _order(document: Document, placed: list[PlacedMistake]) -> tuple[ConfigMistake, ...]:
    lines = document.find_lines({mistake.path for mistake in placed})
    mistakes = [_place(mistake, lines[mistake.path]) for mistake in placed]
    return tuple(sorted((*document.mistakes, *mistakes), key=lambda mistake: mistake.line))


def _place(mistake: PlacedMistake, line: int) -> ConfigMistake:
    return ConfigMistake(
        line=line,
        key=render_path(mistake.path),
        message=mistake.message,
        value=render_line(mistake.value),
        allowed=render_line(mistake.allowed),
    )


def _refuse(source: str, message: str) -> ConfigError:
    return ConfigError(source, (ConfigMistake(line=0, key="file", message=message),))
