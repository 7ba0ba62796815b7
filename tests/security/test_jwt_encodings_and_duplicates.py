"""J8, J9, J21, J22, J23: a token has one spelling and one reading, or it is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authd.errors import TokenError
from authd.jose import parse_unverified_token
from tests.forge import b64
from tests.security.token_targets import CLAIMS, OURS, Target, each_target, refusal_of

PAYLOAD = json.dumps(CLAIMS)


def doubled(member: str, first: str) -> str:
    """The good payload with `member` a second time, in front."""
    return "{" + f'"{member}": {first}, ' + PAYLOAD[1:]


@each_target
def test_j8_a_key_that_comes_twice_is_refused(target: Target) -> None:
    header = json.dumps(target.header)
    for text in (
        target.sign('{"alg": "none", ' + header[1:]),
        target.sign(header[:-1] + ', "alg": "none"}'),
        target.sign(header[:-1] + f', "\\u0061lg": "{target.algorithm}"}}'),
        target.sign(header[:-1] + ', "kid": "other"}'),
        target.sign(payload=doubled("aud", '"evil"')),
        target.sign(payload=doubled("sub", '"mallory"')),
        target.sign(payload=doubled("exp", "4102444800")),
        target.sign(payload=PAYLOAD[:-1] + ', "custom": {"a": 1, "a": 2}}'),
    ):
        assert refusal_of(target, text) == "token_malformed"


@each_target
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp037"])
def test_j9_every_encoding_but_utf_8_is_refused(target: Target, encoding: str) -> None:
    name = {**CLAIMS, "name": "Łukasz" if encoding != "cp037" else "Lukasz"}
    payload = json.dumps(name, ensure_ascii=False).encode(encoding)
    header = json.dumps(target.header).encode(encoding)
    assert refusal_of(target, target.sign(payload=payload)) == "token_malformed"
    assert refusal_of(target, target.sign(header)) == "token_malformed"


@each_target
@pytest.mark.parametrize(
    "member",
    [
        b'"x": NaN',
        b'"x": Infinity',
        b'"x": -Infinity',
        b'"x": 1e400',
        b'"x": "\xff"',
        b'"x": "\xc0\xae"',
        b'"x": "\xed\xa0\x80"',
        b'"x": "\\ud800"',
        b'"\\udfff": 1',
        b'"x": "\n"',
        b'"x": "\x00"',
        b'"x": 01',
        b'"x": +1',
        b'"x": .5',
        b"'x': 1",
        b'"x": 1,',
        b'/* */ "x": 1',
    ],
)
def test_j9_what_is_not_json_to_the_letter_is_refused(target: Target, member: bytes) -> None:
    for text in (
        target.sign(payload=b"{" + member + b", " + PAYLOAD.encode()[1:]),
        target.sign(b"{" + member + b", " + json.dumps(target.header).encode()[1:]),
    ):
        assert refusal_of(target, text) == "token_malformed"


@each_target
def test_j9_two_spellings_of_one_json_text_are_one(target: Target) -> None:
    """Escapes and white space are JSON, and every parser reads them alike."""
    escaped = json.dumps(target.header).replace(
        target.algorithm, f"\\u{ord(target.algorithm[0]):04x}{target.algorithm[1:]}"
    )
    assert target.verify(target.sign(escaped))
    assert target.verify(target.sign(f" {json.dumps(target.header, indent=2)}\n", f"\t{PAYLOAD} \r\n"))


@each_target
@pytest.mark.parametrize("junk", [b"x", b"\x00", b"{}", b"\xef\xbb\xbf"])
def test_j9_nothing_may_follow_the_object(target: Target, junk: bytes) -> None:
    assert refusal_of(target, target.sign(payload=PAYLOAD.encode() + junk)) == "token_malformed"


@each_target
@pytest.mark.parametrize("position", [0, 1, 2])
def test_j21_a_part_has_one_spelling(target: Target, position: int) -> None:
    parts = list(target.parts())
    part = parts[position]
    spellings = [
        part + "=",
        part + "==",
        part + "===",
        part + "\n",
        part + " ",
        part + "?",
        part + "#",
        part + "\u00e9",
        part + "\u0661",
        " " + part,
        part[:10] + "\n" + part[10:],
        part[:10] + "\r\n" + part[10:],
        part[:10] + "=" + part[10:],
        part[:10] + "%2D" + part[10:],
        part[:5] + "+" + part[6:],
        part[:5] + "/" + part[6:],
        part + "A" * (5 - len(part) % 4),
        "",
    ]
    for spelling in spellings:
        changed = [*parts[:position], spelling, *parts[position + 1 :]]
        assert refusal_of(target, ".".join(changed)) == "token_malformed"


@each_target
def test_j21_left_over_bits_are_zero(target: Target) -> None:
    """The last character of a part has bits that nobody reads: with them, one token would have 16 texts."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    tried = 0
    for filler in ("", "x", "xx"):
        payload = json.dumps(CLAIMS | {"filler": filler})
        text = target.sign(payload=payload)
        for position, part in enumerate(text.split(".")):
            free_bits = {0: 0, 2: 4, 3: 2}[len(part) % 4]
            for bits in range(1, 1 << free_bits):
                parts = text.split(".")
                parts[position] = part[:-1] + alphabet[alphabet.index(part[-1]) | bits]
                assert refusal_of(target, ".".join(parts)) == "token_malformed"
                tried += 1
    assert tried > 20


@each_target
def test_j22_three_parts_and_no_other_number(target: Target) -> None:
    header, payload, signature = target.parts()
    for text in (
        "",
        ".",
        "..",
        header,
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature}.",
        f".{header}.{payload}.{signature}",
        f"{header}.{payload}.{signature}.{signature}",
        f"{header}.{payload}.{signature}.{payload}.{signature}",
        f"{header}..{payload}.{signature}",
        f"{header}%2E{payload}%2E{signature}",
        f"{header}\u3002{payload}\u3002{signature}",
    ):
        assert refusal_of(target, text) == "token_malformed"


@each_target
def test_j22_the_json_forms_are_no_tokens(target: Target) -> None:
    header, payload, signature = target.parts()
    flattened = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    # CVE-2022-39227: one text that is compact to one parser and JSON to the other.
    mixed = {f"  {header}.{payload}.": "", **flattened}
    for form in (flattened, general, {"payload": payload, "signatures": []}, mixed):
        assert refusal_of(target, json.dumps(form)) == "token_malformed"


@each_target
def test_j23_a_token_in_a_token_is_not_opened(target: Target) -> None:
    inner = target.sign()
    header = target.header | {"cty": "JWT"}
    for payload in (inner, json.dumps(inner), json.dumps([inner])):
        assert refusal_of(target, target.sign(header, payload)) == "token_malformed"
    stranger = target.sign(header, {"jwt": inner})
    if target is OURS:
        assert refusal_of(target, stranger) != "token_malformed"
    else:
        assert target.verify(stranger) == {"jwt": inner}


@settings(deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_whatever_comes_is_refused_in_one_way(text: str) -> None:
    with pytest.raises(TokenError) as refusal:
        parse_unverified_token(text)
    assert refusal.value.code == "token_malformed"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=5,
)
members = st.sampled_from(["alg", "kid", "crit", "typ", "b64", "jwk", "x5c", "zip", "cty", "exp", "aud", "iss"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(members, json_values, max_size=5), st.dictionaries(members, json_values, max_size=5))
def test_no_header_and_no_payload_ends_in_another_error(header: object, payload: object) -> None:
    """436 of 15,000 random headers made a plain TypeError of another library, before its signature check."""
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}.AAAA"
    with pytest.raises(TokenError):
        OURS.verify(text)


@each_target
def test_every_single_changed_character_ends_the_token(target: Target) -> None:
    text = target.sign()
    for position, character in enumerate(text):
        other = "A" if character != "A" else "B"
        refusal_of(target, text[:position] + other + text[position + 1 :])
