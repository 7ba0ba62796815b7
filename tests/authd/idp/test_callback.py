import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.idp.callback import UnverifiedCallback, parse_callback


def test_a_code_comes_with_its_issuer() -> None:
    callback = parse_callback("code=a%2Bb+c&state=s&iss=https%3A%2F%2Fidp.example.com&session_state=x")
    assert callback == UnverifiedCallback("a+b c", None, None, "https://idp.example.com")


def test_an_error_comes_with_its_description() -> None:
    assert parse_callback("error=access_denied&error_description=no&state=s") == UnverifiedCallback(
        None, "access_denied", "no", None
    )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "either a code or an error"),
        ("state=s", "either a code or an error"),
        ("code=&state=s", "either a code or an error"),
        ("error=&state=s", "either a code or an error"),
        ("code[]=a&state=s", "either a code or an error"),
        ("CODE=a", "either a code or an error"),
        ("code=a&error=b", "either a code or an error"),
        ("code=a&code=a", "a parameter twice"),
        ("code=a&%63ode=b", "a parameter twice"),
        ("code=a&code=", "a parameter twice"),
        ("code=a&state=s&state=s", "a parameter twice"),
        ("code=a&iss=x&iss=y", "a parameter twice"),
        ("error=a&error=b", "a parameter twice"),
        ("error=a&error_description=b&error_description=c", "a parameter twice"),
        ("code=%ff", "not a query string in UTF-8"),
        ("code=%ed%a0%80", "not a query string in UTF-8"),
        ("&".join(f"a{number}=1" for number in range(51)) + "&code=a", "at most 50"),
        ("code=" + "a" * 8192, "longer than 8192"),
    ],
)
def test_an_ambiguous_callback_is_refused(query: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_callback(query)


def test_a_parameter_that_nobody_reads_may_come_twice() -> None:
    assert parse_callback("code=a&x=1&x=2").code == "a"


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
def test_whatever_comes_is_read_or_refused(query: str) -> None:
    try:
        callback = parse_callback(query)
    except ValueError:
        return
    assert bool(callback.code) != bool(callback.error)
