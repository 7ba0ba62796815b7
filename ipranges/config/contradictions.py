"""What no single value shows: names that point nowhere, two targets on one place, exclusive keys.

Works on what can be read even where other parts cannot, so that every mistake is told at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ipranges.config.document import Document, render_path
from ipranges.config.document import Path as KeyPath
from ipranges.config.sources import SourceConfig
from ipranges.config.targets import NginxTarget, TargetConfig
from ipranges.errors import ConfigMistake
from ipranges.path_expression import verify_path_expression

_SOURCE: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)
_TARGET: TypeAdapter[TargetConfig] = TypeAdapter(TargetConfig)
_Found = tuple[KeyPath, str, str, str]


def find_contradictions(document: Document) -> list[ConfigMistake]:
    """All of them, with their lines."""
    sources = _read_each(document.value.get("sources"), _SOURCE)
    targets = _read_each(document.value.get("targets"), _TARGET)
    names = [str(raw.get("name")) for raw in _maps(document.value.get("sources"))]
    found = [*_in_sources(sources), *_repeated_names(names), *_in_targets(targets, names), *_shared(targets)]
    return [
        ConfigMistake(document.line_of(path), render_path(path), message, value, allowed)
        for path, message, value, allowed in found
    ]


def _maps(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _read_each(value: Any, adapter: TypeAdapter[Any]) -> dict[int, Any]:
    read = {}
    for index, raw in enumerate(value if isinstance(value, list) else []):
        try:
            read[index] = adapter.validate_python(raw)
        except ValidationError:
            continue
    return read


def _in_sources(sources: dict[int, SourceConfig]) -> Iterator[_Found]:
    for index, source in sources.items():
        for key, message, allowed in source.find_misfits():
            yield ("sources", index, key), message, "", allowed
        for key, expressions in (("json", source.json_paths or ()), ("serial", (source.serial,))):
            for expression in expressions:
                if expression is not None and (problem := verify_path_expression(expression)):
                    yield ("sources", index, key), problem, repr(expression), "a.b[].c or a[key=value].b[]"


def _repeated_names(names: list[str]) -> Iterator[_Found]:
    for name in _repeated(names):
        last = len(names) - 1 - names[::-1].index(name)
        yield ("sources", last, "name"), "stands twice", name, ""


def _in_targets(targets: dict[int, TargetConfig], names: list[str]) -> Iterator[_Found]:
    for index, target in targets.items():
        for name in target.sources:
            if name not in names:
                yield ("targets", index, "sources"), "names no source", name, ", ".join(names)
        if isinstance(target, NginxTarget) and target.mode == "observe" and target.type == "nginx-realip":
            yield ("targets", index, "mode"), "means nothing for nginx-realip", "observe", "enforce"


def _shared(targets: dict[int, TargetConfig]) -> Iterator[_Found]:
    for what, message in (("label", "two targets have the name"), ("place", "two targets write to")):
        values = [getattr(target, what) for target in targets.values()]
        for value in _repeated(values):
            last = [index for index, target in targets.items() if getattr(target, what) == value][-1]
            yield ("targets", last), message, value, ""


def _repeated(values: list[str]) -> list[str]:
    return [value for value, times in Counter(values).items() if times > 1]
