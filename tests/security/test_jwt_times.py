"""J12, J13, J14, J27: times are whole numbers of seconds, and they are compared as numbers."""

import json
from typing import Any

import pytest

from authd.errors import TokenError
from authd.jose import parse_unverified_token
from tests.security.token_targets import AUDIENCE, CLAIMS, NOW, OURS, Target, each_target, our_tokens, refusal_of

RAW = json.dumps(CLAIMS)


def with_raw(name: str, literal: str) -> str:
    """The good payload with this literal, which json.dumps would never write, as `name`."""
    rest = {member: value for member, value in CLAIMS.items() if member != name}
    return f'{{"{name}": {literal}, {json.dumps(rest)[1:]}'


@each_target
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "literal",
    [
        '"4102444800"',
        '""',
        '"never"',
        "true",
        "false",
        "null",
        "[]",
        "[4102444800]",
        "{}",
        "-1",
        "-0.0",
        "1.5",
        "4102444800.0",
        "1e3",
        "1e308",
        "1e400",
        "-1e400",
        "Infinity",
        "NaN",
        "1" + "0" * 30,
        "9" * 400,
        str(2**53 + 1),
        str(2**63),
    ],
)
def test_j12_j13_a_time_that_is_no_whole_number_is_malformed(target: Target, name: str, literal: str) -> None:
    """PyJWT takes digits in a string, true, and 400 digits."""
    assert refusal_of(target, target.sign(payload=with_raw(name, literal))) == "token_malformed"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": NOW}, "token_expired"),
        ({"exp": NOW - 1}, "token_expired"),
        ({"exp": 0}, "token_expired"),
        ({"exp": ...}, "token_expired"),
        ({"nbf": NOW + 61}, "token_not_yet_valid"),
        ({"iat": NOW + 61}, "token_not_yet_valid"),
        ({"nbf": 2**53}, "token_not_yet_valid"),
    ],
)
def test_j12_j13_our_tokens_end_when_they_say(changes: dict[str, Any], code: str) -> None:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not ...}
    assert refusal_of(OURS, OURS.sign(payload=claims)) == code


@pytest.mark.parametrize("changes", [{"exp": NOW + 1}, {"nbf": NOW + 60, "iat": NOW + 60}, {"nbf": 0, "iat": 0}])
def test_j13_a_minute_of_leeway_is_a_minute(changes: dict[str, int]) -> None:
    assert OURS.verify(OURS.sign(payload=CLAIMS | changes))


@pytest.mark.parametrize("leap", [2**31 - 1, 2**31, 2**32 - 1, 2**32, 253_402_300_800])
def test_j27_the_years_2038_2106_and_10000_are_days_like_others(leap: int) -> None:
    claims = CLAIMS | {"iat": leap - 10, "nbf": leap - 10, "exp": leap + 10}
    text = OURS.sign(payload=claims)
    assert (
        our_tokens(lambda: leap).verify_application_token(parse_unverified_token(text), AUDIENCE).expires_at
        == leap + 10
    )
    for clock, code in ((lambda: leap + 10, "token_expired"), (lambda: leap - 71, "token_not_yet_valid")):
        with pytest.raises(TokenError) as refusal:
            our_tokens(clock).verify_application_token(parse_unverified_token(text), AUDIENCE)
        assert refusal.value.code == code


@pytest.mark.parametrize("drift", [-300, -61, 300])
def test_j27_a_clock_that_is_off_refuses_rather_than_accepts(drift: int) -> None:
    claims = CLAIMS | {"exp": NOW + 200}
    with pytest.raises(TokenError) as refusal:
        our_tokens(lambda: NOW + drift).verify_application_token(
            parse_unverified_token(OURS.sign(payload=claims)), AUDIENCE
        )
    assert refusal.value.code == ("token_expired" if drift > 0 else "token_not_yet_valid")
