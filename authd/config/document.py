"""YAML text to plain values, strictly, and the line on which each value stands.

Reads the events of PyYAML's C parser (the one below `CSafeLoader`) rather than letting a loader
construct objects: no tag can name a Python type, a key that stands twice is seen, aliases are
counted as what they expand to, and ten thousand applications load in a second.
Plain scalars follow YAML 1.2's core schema, in which `no` and `12:30` are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from authd.config.lines import find_lines, line_of
from authd.config.mistakes import Path, render_path
from authd.errors import ConfigMistake

MAX_DOCUMENT_CHARACTERS = 32 * 1024 * 1024
# Far above ten thousand applications; what keeps a few lines of nested aliases from becoming gigabytes.
MAX_NODES = 4_000_000
MAX_DEPTH = 32

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")


class DocumentError(Exception):
    """Raised if the text is not one YAML document that can be read at all."""

    def __init__(self, line: int, message: str) -> None:
        self.mistake = ConfigMistake(line=line, key="document", message=message)
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value (mappings, lists and scalars) and where things stand in it."""

    text: str
    value: Any
    mistakes: tuple[ConfigMistake, ...]

    def find_lines(self, paths: set[Path]) -> dict[Path, int]:
        """The line of each path, or of its nearest ancestor that is written down. Lines count from 1.

        Reads the text a second time: lines are needed only when there is a mistake to report, and
        keeping them for every value would cost more memory than the configuration itself.
        """
        return find_lines(self.text, paths)


def parse_document(text: str) -> Document:
    """Read one YAML document. Keys that stand twice are in `mistakes`; the first one counts.

    Raises DocumentError where nothing can be read: no YAML, several documents, foreign tags, too
    large, nested too deeply, or aliases that expand to too much.
    """
    if len(text) > MAX_DOCUMENT_CHARACTERS:
        raise DocumentError(0, f"is larger than {MAX_DOCUMENT_CHARACTERS // 1024 // 1024} MiB")
    builder = _Builder(text)
    try:
        value = builder.build_document()
    except yaml.MarkedYAMLError as error:
        # Only the problem: the parser's full message quotes the source, which may be a secret.
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise DocumentError(line, f"is not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise DocumentError(0, "is not valid YAML: it holds a character that YAML forbids") from None
    return Document(text, value, tuple(builder.mistakes))


class _Builder:
    """Builds values from parser events. Aliases share the value that they name."""

    def __init__(self, text: str) -> None:
        self._next = yaml.CSafeLoader(text).get_event
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self.mistakes: list[ConfigMistake] = []

    def build_document(self) -> Any:
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._build(self._next(), ())
        self._next()  # the document's end
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise DocumentError(line_of(after), "holds a second document; one file is one document")
        return value

    def _build(self, event: Any, path: Path) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._resolve_alias(event)
        if event.tag not in _TEXT_TAGS:
            raise DocumentError(line_of(event), "uses a YAML tag (!...), which a configuration never needs")
        before = self._nodes
        self._count(1, event)
        if isinstance(event, yaml.ScalarEvent):
            value = _parse_scalar(event)
        elif len(path) > MAX_DEPTH:
            raise DocumentError(line_of(event), f"is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._build_sequence(path)
        else:
            value = self._build_mapping(path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before)
        return value

    def _build_sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._build(event, (*path, len(items))))
        return items

    def _build_mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[Any] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None or event.anchor is not None:
                raise DocumentError(line_of(event), f"{render_path(path)}: a key must be a plain word")
            key = event.value
            value = self._build(self._next(), (*path, key))
            if key == "<<" and event.implicit[0]:
                merged.append(value)
            elif key in mapping:
                self._report_duplicate(event, (*path, key))
            else:
                mapping[key] = value
        for source in merged:
            _merge(mapping, source)
        return mapping

    def _report_duplicate(self, event: Any, path: Path) -> None:
        message = "stands twice in the same mapping; keep one of the two"
        self.mistakes.append(ConfigMistake(line=line_of(event), key=render_path(path), message=message))

    def _resolve_alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise DocumentError(line_of(event), "uses an alias (*name) whose anchor (&name) is not above it")
        value, size = self._anchors[event.anchor]
        self._count(size, event)
        return value

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise DocumentError(line_of(event), f"expands to more than {MAX_NODES} values")


def _merge(mapping: dict[str, Any], source: Any) -> None:
    """YAML's merge key: what stands in the mapping itself wins, then the first source that has it."""
    for part in source if isinstance(source, list) else [source]:
        if isinstance(part, dict):
            for key, value in part.items():
                mapping.setdefault(key, value)
        else:
            mapping.setdefault("<<", part)


def _parse_scalar(event: Any) -> Any:
    value = event.value
    # implicit[0]: written without quotes and without a tag; everything else is text.
    if not event.implicit[0]:
        return value
    if value in _CONSTANTS:
        return _CONSTANTS[value]
    if value[0] in _NUMBER_STARTS:
        return _parse_number(value)
    return value


def _parse_number(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
