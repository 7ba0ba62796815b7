"""YAML is read strictly: what could be read in two ways, or cost without bound, is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.config import document
from authd.config.document import DocumentError, parse_document


def parse_value(text: str) -> Any:
    parsed = parse_document(text)
    assert parsed.mistakes == ()
    return parsed.value


def refuse(text: str) -> tuple[int, str]:
    with pytest.raises(DocumentError) as caught:
        parse_document(text)
    return caught.value.mistake.line, caught.value.mistake.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -7", {"a": -7}),
        ("a: 1.5", {"a": 1.5}),
        ("a: true", {"a": True}),
        ("a: False", {"a": False}),
        ("a: null", {"a": None}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: ''", {"a": ""}),
        ('a: "1"', {"a": "1"}),
        ("a: 'true'", {"a": "true"}),
        ("a: !!str 5", {"a": "5"}),
        ("a: |\n  text\n", {"a": "text\n"}),
        ("[1, {b: [c]}]", [1, {"b": ["c"]}]),
        ("", None),
        ("# nothing but a comment\n", None),
        ("---\na: b\n...\n", {"a": "b"}),
    ],
)
def test_values_are_those_of_yamls_core_schema(text: str, value: Any) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@pytest.mark.parametrize("text", ["no", "yes", "on", "off", "NO", "y"])
def test_the_norway_problem_does_not_exist_here(text: str) -> None:
    assert parse_value(f"country: {text}") == {"country": text}


@pytest.mark.parametrize("text", ["12:30:45", "2026-11-23", "0x1f", "1_000", "0o17", "10.0.0.1", "1e", "."])
def test_what_only_old_yaml_takes_for_a_number_or_a_date_is_text(text: str) -> None:
    assert parse_value(f"a: {text}") == {"a": text}


def test_keys_are_always_text() -> None:
    assert parse_value("1: a\ntrue: b\nnull: c\non: d") == {"1": "a", "true": "b", "null": "c", "on": "d"}


def test_a_key_that_stands_twice_is_named_with_its_place_and_the_first_one_counts() -> None:
    parsed = parse_document("a:\n  - b: 1\n    c: 2\n    b: hunter2\n")
    (mistake,) = parsed.mistakes
    assert (mistake.line, mistake.key, mistake.value) == (4, "a[0].b", "")
    assert parsed.value == {"a": [{"b": 1, "c": 2}]}


def test_keys_that_differ_only_in_quotes_are_the_same_key() -> None:
    assert len(parse_document('a: 1\n"a": 2\n').mistakes) == 1


def test_an_anchor_repeats_a_value() -> None:
    assert parse_value("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_a_merge_key_fills_what_the_mapping_lacks() -> None:
    text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nit: {<<: [*base, *other], a: 0}\n"
    assert parse_value(text)["it"] == {"a": 0, "b": 2, "c": 4}


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert parse_value('"<<": {a: 1}') == {"<<": {"a": 1}}


def test_a_merge_of_something_else_than_a_mapping_stays_as_the_unknown_key_that_it_is() -> None:
    assert parse_value("<<: 5\na: 1") == {"a": 1, "<<": 5}


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    started = time.perf_counter()
    line, message = refuse("\n".join(lines))
    assert "expands to more than" in message
    assert line > 1
    assert time.perf_counter() - started < 2


def test_an_alias_to_what_contains_it_is_refused() -> None:
    line, message = refuse("a: 1\nb: &b [*b]\n")
    assert line == 2
    assert "alias" in message


def test_an_alias_without_an_anchor_does_not_repeat_its_name() -> None:
    # `client_secret: *hunter2` is a secret that begins with a star.
    line, message = refuse("a: 1\nclient_secret: *hunter2\n")
    assert line == 2
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!binary", "!!int", "!foo", "!!set", "!!timestamp"]
)
def test_no_tag_can_ask_for_a_type(tag: str) -> None:
    line, message = refuse(f"a: 1\nb: {tag} 'x'\n")
    assert line == 2
    assert "tag" in message


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!map", "!foo", "!!omap"])
def test_no_tag_can_ask_for_a_type_of_mapping_or_list(tag: str) -> None:
    assert "tag" in refuse(f"a: {tag} {{}}\n")[1]
    assert "tag" in refuse(f"a: {tag} []\n")[1]


def test_a_second_document_is_refused() -> None:
    assert refuse("a: 1\n---\nb: 2\n") == (2, "holds a second document; one file is one document")


def test_deep_nesting_is_refused() -> None:
    assert "nested" in refuse("[" * 100 + "]" * 100)[1]
    assert "nested" in refuse("{a: " * 5000 + "1" + "}" * 5000)[1]


def test_a_file_too_large_to_be_one_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_DOCUMENT_CHARACTERS", 2**20)
    assert refuse("#" * (2**20 + 1)) == (0, "is larger than 1 MiB")


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "a:\n\t- b", "a: 'x", "%YAML 9\n", "? [a]\n: b", "a\n b: c"])
def test_broken_yaml_is_one_mistake_with_a_line(text: str) -> None:
    line, message = refuse(text)
    assert line >= 1
    assert "\n" not in message


def test_broken_yaml_does_not_quote_the_line_that_it_is_on() -> None:
    _, message = refuse("client_secret: 'hunter2\nother: x\n")
    assert "hunter2" not in message


@pytest.mark.parametrize("character", ["\0", "\x07", "\x1b"])
def test_control_characters_are_refused(character: str) -> None:
    assert "not valid YAML" in refuse(f"a: b{character}c")[1]


def test_lines_are_found_for_values_and_for_what_is_missing_below_them() -> None:
    parsed = parse_document("a:\n  - b: 1\n\n  - c:\n      d: 2\n")
    paths = {("a",), ("a", 1), ("a", 1, "c", "d"), ("a", 1, "c", "nothing", 5), ("nothing",)}
    assert parsed.find_lines(paths) == {
        ("a",): 1,
        ("a", 1): 4,
        ("a", 1, "c", "d"): 5,
        ("a", 1, "c", "nothing", 5): 4,
        ("nothing",): 1,
    }


def test_what_an_alias_repeats_is_found_at_the_alias() -> None:
    parsed = parse_document("a: &x\n  b: 1\nc:\n  *x\n")
    assert parsed.find_lines({("c", "b"), ("a", "b")}) == {("c", "b"): 3, ("a", "b"): 2}


_TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=20)
_SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TEXTS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_json_is_yaml(value: Any) -> None:
    assert parse_value(json.dumps(value, ensure_ascii=False)) == value
