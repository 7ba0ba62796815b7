"""A small expression that says where the networks stand in a JSON document.

    result.ipv4_cidrs[]                       every element of a list
    prefixes[service=X].ip_prefix             the elements whose `service` is the text X
    prefixes[].ipv4Prefix?                    the last key may be missing (lists that mix both families)
    []                                        the document itself is the list

An expression that meets another shape than it names is an error, never an empty answer: a provider that
renames a key must not look like a provider without addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ipranges.errors import RefusedError
from ipranges.networks import quote

_STEP = re.compile(r"(?P<key>[A-Za-z0-9_-]+)?(?P<list>\[(?:(?P<name>[A-Za-z0-9_-]+)=(?P<value>[^\[\]=]*))?\])?")


def verify_path_expression(expression: str) -> str:
    """Why an expression cannot be used, or nothing where it can."""
    if len(expression) > 200:
        return "is longer than 200 characters"
    if any(not step or not _STEP.fullmatch(step) for step in _split(expression.removesuffix("?"))):
        return "is no path expression"
    return ""


def find_texts(document: Any, expression: str) -> list[str]:
    """All texts that the expression names, in order; raises RefusedError on any other shape.

    NOT checked: whether the texts are networks.
    """
    optional = expression.endswith("?")
    steps = _split(expression.removesuffix("?"))
    values = [document]
    for number, step in enumerate(steps):
        may_be_missing = optional and number == len(steps) - 1
        values = [found for value in values for found in _take(value, step, expression, may_be_missing)]
    for value in values:
        if not isinstance(value, str):
            raise RefusedError(f"{expression}: {quote(repr(value))} is not a text")
    return values


def get_value(document: Any, expression: str) -> Any:
    """The one value that an expression names; raises RefusedError where there is none, or several."""
    values = [document]
    for step in _split(expression):
        values = [found for value in values for found in _take(value, step, expression, False)]
    if len(values) != 1:
        raise RefusedError(f"{expression}: names {len(values)} values, not one")
    return values[0]


def _split(expression: str) -> list[str]:
    # A dot inside [..] belongs to a filter's value: values[name=AzureFrontDoor.Backend].
    return re.split(r"\.(?![^\[]*\])", expression)


def _take(value: Any, step: str, expression: str, may_be_missing: bool) -> Iterator[Any]:
    match = _STEP.fullmatch(step)
    if match is None:
        raise RefusedError(f"{expression}: is no path expression")
    key = match["key"]
    if key is not None:
        if not isinstance(value, dict):
            raise RefusedError(f"{expression}: there is no map to look for {key!r} in")
        if key not in value:
            if may_be_missing:
                return
            raise RefusedError(f"{expression}: the key {key!r} is missing")
        value = value[key]
    if match["list"] is None:
        yield value
        return
    if not isinstance(value, list):
        raise RefusedError(f"{expression}: {key or 'the document'} is not a list")
    name = match["name"]
    for element in value:
        if name is None or (isinstance(element, dict) and element.get(name) == match["value"]):
            yield element
