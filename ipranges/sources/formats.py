"""How each provider's documents read. Each function takes bodies and returns what they said, unverified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipranges.errors import RefusedError
from ipranges.model import UnverifiedEdition
from ipranges.networks import quote
from ipranges.path_expression import find_texts, get_value
from ipranges.sources.documents import parse_json, parse_lines
from ipranges.sources.provider import Bodies

Reader = Callable[[Bodies], UnverifiedEdition]


def read_text(bodies: Bodies) -> UnverifiedEdition:
    """One CIDR or address a line, over all documents; none of them may be empty."""
    return UnverifiedEdition(tuple(token for body in bodies for token in parse_lines(body)))


def read_json(*paths: str, version: str = "", serial: str = "", verify: Callable[[Any], None] | None = None) -> Reader:
    """A reader for JSON: what `paths` name in every document, with the version and serial that it states."""

    def read(bodies: Bodies) -> UnverifiedEdition:
        tokens: list[str] = []
        stated_version, stated_serial = "", None
        for body in bodies:
            document = parse_json(body)
            if verify is not None:
                verify(document)
            for path in paths:
                tokens += find_texts(document, path)
            if serial:
                stated_serial = _read_serial(get_value(document, serial), serial)
            if version:
                stated_version = str(get_value(document, version))[:100]
        return UnverifiedEdition(tuple(tokens), stated_version, stated_serial)

    return read


def _read_serial(value: Any, path: str) -> int:
    # AWS and Google write theirs as text, Azure as a number. True is a number to Python, not to us.
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    raise RefusedError(f"{path}: {quote(repr(value))} is no serial number")


def verify_cloudflare(document: Any) -> None:
    """Cloudflare's envelope says whether the call succeeded; anything but `true` is an error report."""
    if not isinstance(document, dict) or document.get("success") is not True:
        raise RefusedError("the API's answer does not say `success: true`")


def verify_imperva(document: Any) -> None:
    """Imperva answers 200 to errors too, with `res` other than 0."""
    if not isinstance(document, dict) or document.get("res", 0) not in (0, "0"):
        raise RefusedError("the API's answer has a `res` other than 0")
