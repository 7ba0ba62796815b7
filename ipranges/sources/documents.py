"""Bodies to values, strictly: text that is text, JSON that is JSON, and every line accounted for."""

from __future__ import annotations

import json
from typing import Any

from ipranges.errors import RefusedError
from ipranges.networks import quote

MAX_DEPTH = 32


def decode_text(body: bytes) -> str:
    """UTF-8, with or without a byte order mark; raises RefusedError for an empty body or another encoding."""
    if not body.strip():
        raise RefusedError("the body is empty")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedError("the body is not UTF-8 text") from None


def parse_lines(body: bytes) -> tuple[str, ...]:
    """One token a line; `#` begins a comment; spaces, TAB and CR around a token do not matter.

    Nothing is searched for in the text: a line is a token whole, so that the addresses that happen to
    stand in an error page are never found. Raises RefusedError where no token is left.
    """
    lines = (line.partition("#")[0].strip(" \t\r") for line in decode_text(body).split("\n"))
    tokens = tuple(line for line in lines if line)
    if not tokens:
        raise RefusedError("the body holds comments only")
    return tokens


def parse_json(body: bytes) -> Any:
    """A JSON document; raises RefusedError for anything else, for keys that stand twice, and for NaN."""
    text = decode_text(body)
    try:
        return json.loads(text, object_pairs_hook=_read_object, parse_constant=_refuse_constant)
    except ValueError:
        raise RefusedError(f"the body is not JSON: it begins with {quote(text.strip()[:40])}") from None
    except RecursionError:
        raise RefusedError("the JSON is nested too deeply") from None


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise RefusedError("the JSON has a key that stands twice in one map")
    return value


def _refuse_constant(name: str) -> Any:
    raise RefusedError(f"the JSON holds {name}")
