"""J3, J4, J5: nothing in a token's header says where its key is. It names one of ours, or it is refused."""

import builtins
import socket
from typing import Any

import pytest

from tests.forge import b64, forge_token, public_jwk, signing_key
from tests.security.token_targets import CLAIMS, Target, each_target, refusal_of


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to reach a network or a file; the tests end with none."""
    attempts: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        attempts.append(arguments)
        raise AssertionError(f"reached for {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    return attempts


def attacker_token(target: Target, **header: Any) -> str:
    """Signed with the attacker's own key, under our key's id."""
    private_key = signing_key("mallory", target.algorithm)
    return forge_token(target.header | header, CLAIMS, private_key, target.algorithm)


@each_target
def test_j3_a_key_in_the_header_is_not_used(target: Target) -> None:
    jwk = public_jwk("mallory", target.algorithm)
    for header in ({"jwk": jwk}, {"jwk": jwk | {"kid": target.key_id}}, {"jwk": {"kty": "oct", "k": "AA"}}):
        assert refusal_of(target, attacker_token(target, **header)) == "token_signature"
    without_id = {"alg": target.algorithm, "jwk": jwk}
    text = forge_token(without_id, CLAIMS, signing_key("mallory", target.algorithm), target.algorithm)
    assert refusal_of(target, text) == "token_key_unknown"


@each_target
@pytest.mark.parametrize(
    "address",
    [
        "https://attacker.test/jwks",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:22/",
        "file:///etc/passwd",
        "https://idp.example.com@attacker.test/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
    ],
)
@pytest.mark.parametrize("member", ["jku", "x5u"])
def test_j4_an_address_in_the_header_is_not_visited(
    target: Target, member: str, address: str, outside: list[Any]
) -> None:
    assert refusal_of(target, attacker_token(target, **{member: address})) == "token_signature"
    assert outside == []


@each_target
def test_j4_a_certificate_in_the_header_is_not_read(target: Target, outside: list[Any]) -> None:
    for chain in (["MIIB"], [b64(b"certificate")], "MIIB", [], [None]):
        assert refusal_of(target, attacker_token(target, x5c=chain, x5t="x")) == "token_signature"
    assert outside == []


@each_target
def test_j4_a_true_token_with_addresses_in_it_is_still_true(target: Target, outside: list[Any]) -> None:
    text = target.sign(target.header | {"jku": "https://attacker.test/", "jwk": public_jwk("mallory")})
    assert target.verify(text)
    assert outside == []


@each_target
@pytest.mark.parametrize(
    "key_id",
    [
        "../../../../dev/null",
        "/proc/self/environ",
        "/etc/passwd",
        "' OR '1'='1",
        "' UNION SELECT 'key",
        "K\u0000",
        "K\n",
        "",
        "*",
        "%",
        "__class__",
        "0",
        "x" * 1000,
    ],
)
def test_j5_a_key_id_is_a_name_and_nothing_more(target: Target, key_id: str, outside: list[Any]) -> None:
    assert refusal_of(target, target.sign(target.header | {"kid": key_id})) == "token_key_unknown"
    assert outside == []


@each_target
def test_j5_a_key_id_is_compared_to_the_letter(target: Target) -> None:
    for key_id in (target.key_id.upper(), target.key_id + "\u0000", target.key_id + " ", "x" + target.key_id):
        assert refusal_of(target, target.sign(target.header | {"kid": key_id})) == "token_key_unknown"


@each_target
@pytest.mark.parametrize("key_id", [None, 0, 1, True, [], ["ours"], {}, 1.5])
def test_j5_a_key_id_that_is_no_string_is_malformed(target: Target, key_id: object) -> None:
    assert refusal_of(target, target.sign(target.header | {"kid": key_id})) == "token_malformed"


@each_target
def test_j5_a_key_id_of_100_kilobytes_is_too_long_to_be_read(target: Target) -> None:
    assert refusal_of(target, target.sign(target.header | {"kid": "K" * 100_000})) == "token_malformed"


@each_target
def test_j5_a_token_without_key_id_is_not_tried_with_every_key(target: Target) -> None:
    assert refusal_of(target, target.sign({"alg": target.algorithm})) == "token_key_unknown"
