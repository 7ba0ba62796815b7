"""Cookies as they stand in the header: no quotes undone, no second one overlooked, and ours shut in."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest

from authd.cookies import (
    MAX_VALUES,
    find_cookie,
    find_cookies_by_prefix,
    find_cookies_ignoring_case,
    render_cookie,
    render_expired_cookie,
)
from tests.authd.house import NOW


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x=1", "1"),
        ("a=b; x=1", "1"),
        ("a=b;\tx=1", "1"),
        ("a=b;x=1;", "1"),
        ("x = 1", "1"),
        ("x=a=b", "a=b"),
        ('x="1"', '"1"'),
        ("x=%31", "%31"),
        ("X=1", None),
        ("xx=1", None),
        ("x=", None),
        ("x", None),
        ("", None),
        ("x=1; x=2", None),
        ("x=1; x=1", None),
        ("a=1,x=2", None),
        ('a="; x=1"', '1"'),
    ],
)
def test_a_cookie_is_found_by_its_exact_name_if_it_is_there_once(header: str, value: str | None) -> None:
    assert find_cookie(header, "x") == value


def test_cookies_of_one_name_in_any_case_are_found_in_their_order() -> None:
    header = "b=0; CF_A=1; cf_a=2; Cf_A=; CF_A=1; xCF_A=9"

    assert find_cookies_ignoring_case(header, "CF_A") == ["1", "2"]
    assert find_cookies_ignoring_case("b=0", "CF_A") == []


def test_more_cookies_of_a_name_than_anybody_needs_are_not_looked_at() -> None:
    header = "; ".join(f"x={number}" for number in range(50))

    assert find_cookies_ignoring_case(header, "x") == [str(number) for number in range(MAX_VALUES)]


def test_cookies_are_found_by_the_beginning_of_their_names_and_not_if_there_are_two() -> None:
    assert find_cookies_by_prefix("p_1=a; q=b; p_2=c; p_1=d", "p_") == {"p_1": "", "p_2": "c"}
    assert find_cookies_by_prefix("q=b", "p_") == {}


def test_a_cookie_is_shut_in_as_far_as_cookies_can_be() -> None:
    line = render_cookie("__Host-x", "value", max_age_seconds=60, now=NOW)
    morsel = SimpleCookie(line)["__Host-x"]

    assert morsel.value == "value"
    assert (morsel["path"], morsel["domain"], morsel["secure"], morsel["httponly"]) == ("/", "", True, True)
    assert (morsel["samesite"], morsel["max-age"]) == ("Lax", "60")
    assert morsel["expires"] == "Fri, 15 Jan 2027 08:01:00 GMT"


def test_a_cookie_is_removed_by_the_attributes_that_it_was_set_with() -> None:
    kept = SimpleCookie(render_cookie("x", "value", max_age_seconds=60, now=NOW))["x"]
    removed = SimpleCookie(render_expired_cookie("x"))["x"]

    assert (removed.value, removed["max-age"], removed["expires"]) == ("", "0", "Thu, 01 Jan 1970 00:00:00 GMT")
    for name in ("path", "domain", "secure", "httponly", "samesite"):
        assert removed[name] == kept[name]
