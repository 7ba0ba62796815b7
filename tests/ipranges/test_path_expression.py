"""Where the networks stand in a JSON document, and what is refused rather than guessed."""

from __future__ import annotations

from typing import Any

import pytest

from ipranges.errors import RefusedError
from ipranges.path_expression import find_texts, get_value, verify_path_expression

DOCUMENT: dict[str, Any] = {
    "result": {"cidrs": ["1.2.3.0/24", "1.2.4.0/24"]},
    "prefixes": [
        {"service": "X", "ip": "5.0.0.0/24"},
        {"service": "Y", "ip": "6.0.0.0/24"},
        {"service": "X", "ip": "7.0.0.0/24"},
    ],
    "tags": [{"name": "A.B", "list": ["8.0.0.0/24"]}, {"name": "A.C", "list": ["9.0.0.0/24"]}],
    "mixed": [{"v4": "10.0.0.0/24"}, {"v6": "2400::/32"}],
    "serial": 7,
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("result.cidrs[]", ["1.2.3.0/24", "1.2.4.0/24"]),
        ("prefixes[service=X].ip", ["5.0.0.0/24", "7.0.0.0/24"]),
        ("prefixes[].ip", ["5.0.0.0/24", "6.0.0.0/24", "7.0.0.0/24"]),
        ("tags[name=A.B].list[]", ["8.0.0.0/24"]),
        ("mixed[].v4?", ["10.0.0.0/24"]),
        ("prefixes[service=Z].ip", []),
    ],
)
def test_an_expression_names_texts(expression: str, expected: list[str]) -> None:
    assert find_texts(DOCUMENT, expression) == expected


def test_a_document_may_be_the_list_itself() -> None:
    assert find_texts(["1.2.3.4"], "[]") == ["1.2.3.4"]


@pytest.mark.parametrize(
    "expression",
    ["absent[]", "result.absent[]", "serial[]", "serial.x", "prefixes[].absent", "prefixes[]", "mixed[].v4", "result"],
)
def test_another_shape_is_an_error_and_never_an_empty_list(expression: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        find_texts(DOCUMENT, expression)
    assert expression in str(refusal.value)


def test_one_value_is_one_value() -> None:
    assert get_value(DOCUMENT, "serial") == 7
    with pytest.raises(RefusedError, match="names 3 values"):
        get_value(DOCUMENT, "prefixes[].ip")


@pytest.mark.parametrize("expression", ["", "a..b", "a[", "a]b", "a[b=[]]", "$.a", "a b", "a[0]", "x" * 201])
def test_what_is_no_expression_is_told_with_the_configuration(expression: str) -> None:
    assert verify_path_expression(expression)


@pytest.mark.parametrize("expression", ["a", "a.b[]", "[]", "a[b=c.d].e?", "edges[].cidr"])
def test_expressions_of_the_documentation_are_accepted(expression: str) -> None:
    assert verify_path_expression(expression) == ""
