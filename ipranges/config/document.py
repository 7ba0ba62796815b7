"""YAML text to plain values, with the line of every key, and keys that stand twice refused."""

from __future__ import annotations

from typing import Any

import yaml

from ipranges.errors import ConfigMistake

Path = tuple[str | int, ...]


class Document:
    """A parsed file: `value` is plain data; `line_of(path)` the line where a value (or its parent) stands."""

    def __init__(self, value: Any, lines: dict[Path, int], mistakes: tuple[ConfigMistake, ...]) -> None:
        self.value = value
        self.mistakes = mistakes
        self._lines = lines

    def line_of(self, path: Path) -> int:
        """The line of the value at `path`, else of the nearest parent that is in the file; from 1."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 0)


def render_path(path: Path) -> str:
    """A path as people write it: `sources[1].url`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.mistakes: list[ConfigMistake] = []
        self._loader = yaml.SafeLoader("")

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._read_scalar(node, path)

    def _read_scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self._complain(node, path, f"cannot be read: {error}".splitlines()[0])
            return None

    def _read_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(getattr(key_node, "value", ""))
            here = (*path, key)
            if key in values:
                # YAML's own readers let the last one win: a list of sources would vanish unseen.
                self._complain(key_node, here, f"stands twice; first on line {self.lines[here]}")
                continue
            values[key] = self.read(value_node, here)
            self.lines[here] = key_node.start_mark.line + 1
        return values

    def _complain(self, node: yaml.Node, path: Path, message: str) -> None:
        self.mistakes.append(ConfigMistake(node.start_mark.line + 1, render_path(path), message))


def parse_document(text: str) -> Document:
    """Read YAML with the safe types only. Never raises for bad text: its mistakes are in the answer.

    Anchors that refer to themselves and tags of other types are mistakes too.
    """
    reader = _Reader()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        problem = getattr(error, "problem", None) or "cannot be read"
        return Document(None, {}, (ConfigMistake(line, "", f"this is not YAML: {problem}"),))
    if node is None:
        return Document(None, {}, (ConfigMistake(0, "", "the file is empty"),))
    try:
        value = reader.read(node, ())
    except RecursionError:
        return Document(None, {}, (ConfigMistake(0, "", "an anchor refers to itself"),))
    return Document(value, reader.lines, tuple(reader.mistakes))
