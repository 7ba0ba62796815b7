import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.jose import parse_json_object
from authd.jose.strict_json import MAX_DEPTH

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4), st.booleans())
def test_what_json_writes_is_read_back(value: dict[str, object], escaped: bool) -> None:
    assert parse_json_object(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary(max_size=200))
def test_anything_else_is_a_value_error(document: bytes) -> None:
    try:
        value = parse_json_object(document)
    except ValueError:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b'{"a": 1, "a": 2}', "duplicate key"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "duplicate key"),
        (b'{"b": [{"a": 1, "a": 1}]}', "duplicate key"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e400}', "not finite"),
        (b'{"a": ' + b"9" * 41 + b"}", "40 digits"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"\\udc00\\ud800": 1}', "lone surrogate"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        ('{"a": 1}'.encode("utf-16-le"), "not JSON"),
        ('{"a": 1}'.encode("utf-32"), "not UTF-8"),
        (b'{"a": "line\nbreak"}', "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"", "not JSON"),
        (b"null", "not a JSON object"),
        (b'["a"]', "not a JSON object"),
        (b'"{}"', "not a JSON object"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "nested too deeply"),
    ],
)
def test_what_two_programs_could_read_differently_is_refused(document: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json_object(document)


def test_depth_is_counted_in_levels_and_not_in_brackets() -> None:
    wide = {"groups": [{"name": str(number)} for number in range(50)]}
    assert parse_json_object(json.dumps(wide).encode()) == wide
    levels = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"[]" + b"]" * (MAX_DEPTH - 1) + b"}"
    with pytest.raises(ValueError, match="nested"):
        parse_json_object(levels)
    assert parse_json_object(levels.replace(b"[[]]", b"[]"))


def test_brackets_inside_a_string_are_no_depth() -> None:
    assert parse_json_object(b'{"a": "' + b"[" * 100 + b'"}') == {"a": "[" * 100}
