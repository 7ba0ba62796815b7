"""J6, J7: we know no extension of JWS, so whoever asks for one is refused, in every spelling."""

from typing import Any

import pytest

from tests.forge import as_bytes, b64
from tests.security.token_targets import CLAIMS, Target, each_target, refusal_of


@each_target
@pytest.mark.parametrize(
    "critical",
    [["exp"], ["x"], ["kid"], ["alg"], [], "exp", "", ["b64"], None, [1], [[]], {}, {"exp": 1}, 0, False, True],
)
def test_j6_critical_headers_are_refused_even_when_they_say_nothing(target: Target, critical: Any) -> None:
    """joserfc 1.8 ends in a TypeError for null and [1], before any signature is looked at."""
    assert refusal_of(target, target.sign(target.header | {"crit": critical})) == "token_malformed"


@each_target
@pytest.mark.parametrize("value", [False, True, None, "false", 0])
@pytest.mark.parametrize("critical", [None, ["b64"]])
def test_j7_b64_is_refused_with_and_without_crit(target: Target, value: Any, critical: Any) -> None:
    header = target.header | {"b64": value} | ({"crit": critical} if critical else {})
    assert refusal_of(target, target.sign(header)) == "token_malformed"


@each_target
def test_j7_a_raw_or_detached_payload_is_no_token(target: Target) -> None:
    header, payload, signature = target.parts()
    unencoded = b64(as_bytes(target.header | {"b64": False, "crit": ["b64"]}))
    raw = as_bytes(CLAIMS).decode()
    for text in (
        f"{header}..{signature}",
        f"{unencoded}..{signature}",
        f"{unencoded}.{raw}.{signature}",
        f"{header}.{raw}.{signature}",
        f"{unencoded}.{payload}.{signature}",
    ):
        assert refusal_of(target, text) == "token_malformed"
