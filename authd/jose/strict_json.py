"""JSON as two different programs would read it: anything that they could read differently is refused.

The standard library's parser takes UTF-16, keeps the last of two equal keys, and reads `NaN` and
`1e400`. Each of these let somebody check one value and use another (CVE-2022-39227 and its kin).
"""

from __future__ import annotations

import json
import math
from typing import Any

# Real tokens and key sets nest three or four deep; a custom claim may add a few.
MAX_DEPTH = 16


def parse_json_object(document: bytes) -> dict[str, Any]:
    """Return the object that `document` holds: UTF-8, no byte order mark, no duplicate keys.

    Raises ValueError, whose text never quotes the document. Also refused: anything but an object
    at the top, numbers that are not finite, lone surrogates, nesting deeper than `MAX_DEPTH`.
    Not checked: the size (cap it before), and how large whole numbers are.
    """
    value = _parse(document)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 (the caller handles one kind of refusal)
    return value


def parse_json_array(document: bytes) -> list[Any]:
    """As `parse_json_object`, of an array."""
    value = _parse(document)
    if not isinstance(value, list):
        raise ValueError("is not a JSON array")  # noqa: TRY004 (the caller handles one kind of refusal)
    return value


def _parse(document: bytes) -> Any:
    try:
        text = document.decode("utf-8", errors="strict")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("is not JSON") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if isinstance(value, dict | list):
        _refuse_depth(text, value)
    _refuse_lone_surrogates(text, value)
    return value


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("has a duplicate key")
    return value


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("has a number that is not finite")
    return value


def _whole_number(text: str) -> int:
    # int() is quadratic, and Python's own limit says so in a sentence about itself.
    if len(text) > 40:
        raise ValueError("has a number of more than 40 digits")
    return int(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"has the number {name}, which JSON does not know")


# Made once: json.loads() with hooks builds a decoder on every call.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_object,
    parse_float=_finite_float,
    parse_int=_whole_number,
    parse_constant=_refuse_constant,
)


def _refuse_depth(text: str, value: dict[str, Any] | list[Any]) -> None:
    # Brackets bound the depth from above, so ordinary documents skip the walk.
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise ValueError("is nested too deeply")


def _children(value: dict[str, Any] | list[Any]) -> list[Any]:
    members = value.values() if isinstance(value, dict) else value
    return [member for member in members if isinstance(member, dict | list)]


def _refuse_lone_surrogates(text: str, value: Any) -> None:
    # UTF-8 itself cannot carry them; only an escape can. Such a string passes every comparison
    # and then breaks whoever encodes it: the log, the header, the store.
    if "\\u" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("has a lone surrogate") from None
