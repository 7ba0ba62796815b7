"""J10, J11: size and depth are looked at before anything is computed, and cost next to nothing to refuse."""

import json
import time

import pytest

from authd.errors import TokenError
from tests.forge import as_bytes, b64
from tests.security.token_targets import CLAIMS, PUBLISHED, Target, each_target


def refuse_quickly(target: Target, text: str) -> None:
    began = time.thread_time()
    with pytest.raises(TokenError) as refusal:
        target.verify(text)
    # A true check costs a tenth of a millisecond; the bound has room for a slow machine.
    assert time.thread_time() - began < 0.1
    assert refusal.value.code == "token_malformed"


@each_target
@pytest.mark.parametrize("size", [8_200, 16_000, 200_000, 2_000_000])
def test_j10_a_token_over_8_kilobytes_is_not_read(target: Target, size: int) -> None:
    refuse_quickly(target, target.sign(payload=CLAIMS | {"filler": "x" * size}))
    refuse_quickly(target, target.sign(target.header | {"filler": "x" * size}))


@each_target
def test_j10_many_dots_are_no_many_parts(target: Target) -> None:
    for text in ("." * 5, "." * 1_000, "." * 8_000, "." * 2_000_000, "a." * 4_000, "a" * 8_000, "A.B." * 2_000 + "C"):
        refuse_quickly(target, text)


@each_target
@pytest.mark.parametrize("digits", [41, 400, 5_000])
def test_j10_a_number_of_many_digits_is_not_computed(target: Target, digits: int) -> None:
    number = "9" * digits
    refuse_quickly(target, target.sign(payload=f'{{"x": {number}, {json.dumps(CLAIMS)[1:]}'))
    refuse_quickly(target, target.sign(payload=f'{{"x": -{number}, {json.dumps(CLAIMS)[1:]}'))


@each_target
@pytest.mark.parametrize("depth", [17, 100, 2_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_j11_deep_nesting_is_refused_in_header_and_payload(
    target: Target, depth: int, opening: str, closing: str
) -> None:
    """The header is parsed before any signature: whatever it does to the parser, anybody can do."""
    deep = f'{{"x": {opening * depth}1{closing * depth}, '
    refuse_quickly(target, target.sign(deep + json.dumps(target.header)[1:]))
    refuse_quickly(target, target.sign(payload=deep + json.dumps(CLAIMS)[1:]))


def test_j11_brackets_that_never_close_are_refused() -> None:
    for levels in (6_000, 20_000):
        for opening in ("[", '{"a":'):
            refuse_quickly(PUBLISHED, f"{b64(as_bytes(opening * levels))}.e30.AAAA")


@each_target
def test_a_token_of_the_size_that_500_groups_need_is_read(target: Target) -> None:
    groups = [f"group-{number:03d}" for number in range(350)]
    text = target.sign(payload=CLAIMS | {"custom": {"groups": groups}})
    assert 6_000 < len(text) < 8_192
    assert target.verify(text)
