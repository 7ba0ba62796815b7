"""The small pieces of text on the pages."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from authd.resources.page_text import render_in_groups, render_printable, render_waiting_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "1 second"),
        (0, "1 second"),
        (1, "1 second"),
        (2, "2 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (3600, "60 minutes"),
    ],
)
def test_a_waiting_time_is_never_shorter_than_the_wait(seconds: int, text: str) -> None:
    assert render_waiting_time(seconds) == text


@pytest.mark.parametrize(
    ("reference", "groups"),
    [
        ("7c1f0e52a9d84b36", ["7c1f", "0e52", "a9d8", "4b36"]),
        ("abcde", ["abcd", "e"]),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]),
        ("שלום", ["שלום"]),
        ("", [""]),
    ],
)
def test_only_plain_references_are_cut_and_none_loses_a_character(reference: str, groups: list[str]) -> None:
    assert render_in_groups(reference) == groups
    assert "".join(groups) == reference


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x85", "\u202e", "\u2066", "\udcff"])
def test_what_a_page_cannot_carry_is_replaced(character: str) -> None:
    assert render_printable(f"a{character}b") == "a\ufffdb"


def test_ordinary_text_tabs_and_line_ends_stay() -> None:
    text = "Zażółć\tgęślą\r\njaźń لوحة 🙂"

    assert render_printable(text) is text or render_printable(text) == text


def test_other_values_and_finished_markup_are_left_alone() -> None:
    number, markup = 12, Markup("<b>\u202e</b>")

    assert render_printable(number) is number
    assert render_printable(markup) is markup
