from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.config.durations import parse_duration_seconds, render_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h", 86400),
        ("2h45m", 9900),
        ("90s", 90),
        ("1h0m1s", 3601),
        ("1.5h", 5400),
        ("1000ms", 1),
        ("500ms500000us", 1),
        ("1000000µs", 1),
        ("1000000μs", 1),
        ("1000000000ns", 1),
        ("0", 0),
        ("0s", 0),
        ("45m2h", 9900),
        ("0.1h", 360),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: int) -> None:
    assert parse_duration_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "1d",
        "1w",
        "h",
        "-1h",
        "+1h",
        " 1h",
        "1h ",
        "1 h",
        "1H",
        "1h,",
        "1e3s",
        "1.s",
        ".5h",
        "٣h",
        "1hh",
        "inf",
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_seconds(text)


@pytest.mark.parametrize("text", ["300ms", "1.5s", "1h1ns"])
def test_a_part_of_a_second_is_told_apart_from_nonsense(text: str) -> None:
    with pytest.raises(ValueError, match="must be whole seconds"):
        parse_duration_seconds(text)


def test_a_long_text_is_refused_quickly() -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_seconds("1" * 100_000)


@given(st.integers(0, 10**7))
def test_what_is_rendered_is_read_back(seconds: int) -> None:
    assert parse_duration_seconds(render_duration(seconds)) == seconds
