import json

import pytest

from authd.errors import KeySetError
from authd.jose import KeySet, VerificationKey, parse_key_set
from authd.jose.key_sets import MAX_KEYS
from tests.forge import b64, ec_key, key_set_document, public_jwk, rsa_key

ALL = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
PROVIDERS = frozenset({"RS256", "RS512", "PS512", "ES256", "ES384", "ES512"})


def parse(*jwks: dict[str, object]) -> KeySet:
    return parse_key_set(key_set_document(*jwks), algorithms=PROVIDERS)


def test_a_key_is_found_by_its_id_and_its_algorithm() -> None:
    keys = parse(public_jwk("one"), public_jwk("two", "ES256"))
    found = keys.find("one", "RS256")
    assert found is not None
    assert found.public_key.public_numbers() == rsa_key("one").public_key().public_numbers()
    assert keys.find("two", "ES256") is not None
    assert keys.find("one", "ES256") is None
    assert keys.find("one", "RS512") is None
    assert keys.find("ONE", "RS256") is None
    assert keys.find("three", "RS256") is None


def test_a_key_without_alg_is_for_each_allowed_algorithm_of_its_kind_and_no_other() -> None:
    keys = parse(public_jwk("one", alg=None))
    assert {key.algorithm for key in keys.keys} == {"RS256", "RS512", "PS512"}


@pytest.mark.parametrize(("algorithm", "other"), [("ES256", "ES384"), ("ES384", "ES512"), ("ES512", "ES256")])
def test_a_curve_has_one_algorithm(algorithm: str, other: str) -> None:
    assert {key.algorithm for key in parse(public_jwk("one", algorithm, alg=None)).keys} == {algorithm}
    with pytest.raises(KeySetError, match="none of the allowed algorithms"):
        parse(public_jwk("one", algorithm, alg=other))


def test_the_only_key_serves_a_token_without_kid_and_two_serve_none() -> None:
    assert parse(public_jwk("one", kid=None), public_jwk("two", "ES256")).only_key("RS256") is not None
    assert parse(public_jwk("one"), public_jwk("two")).only_key("RS256") is None
    assert parse(public_jwk("one")).only_key("ES256") is None


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"use": "enc"}, "not for signatures"),
        ({"key_ops": ["encrypt"]}, "not for signatures"),
        ({"key_ops": "verify"}, "not for signatures"),
        ({"key_ops": None, "use": 1}, "not for signatures"),
        ({"kid": 7}, "kid that is not a string"),
        ({"kty": None}, "of a kind that we do not know"),
        ({"kty": "rsa"}, "of a kind that we do not know"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "of a kind that we do not know"),
        ({"alg": "RS384"}, "none of the allowed algorithms"),
        ({"alg": "HS256"}, "none of the allowed algorithms"),
        ({"alg": ["RS256"]}, "none of the allowed algorithms"),
        ({"n": "!!!"}, "no n in base64url"),
        ({"n": 5}, "no n in base64url"),
        ({"e": None}, "no e in base64url"),
        ({"e": "A"}, "no e in base64url"),
        ({"e": "AQ"}, "exponent"),
        ({"e": "Aw"}, "exponent"),
        ({"e": "AQAA"}, "exponent"),
        ({"e": "AQAC"}, "not an RSA key"),
        ({"n": b64(b"\xff" * 4096)}, "bits"),
    ],
)
def test_an_unfit_key_is_skipped_with_its_reason(members: dict[str, object], reason: str) -> None:
    keys = parse(public_jwk("unfit", **members), public_jwk("fit", "ES256"))
    assert [key.key_id for key in keys.keys] == ["fit"]
    assert len(keys.skipped) == 1
    assert reason in keys.skipped[0]
    with pytest.raises(KeySetError, match="no key that we may use"):
        parse(public_jwk("unfit", **members))


def test_rsa_under_2048_bits_is_skipped() -> None:
    weak = rsa_key("weak", 1024).public_key().public_numbers()
    with pytest.raises(KeySetError, match="1024 bits"):
        parse({"kty": "RSA", "n": b64(weak.n.to_bytes(128)), "e": "AQAB"})


def test_rsa_from_a_broken_generator_is_skipped() -> None:
    """Its modulus has the mark of CVE-2017-15361: a power of 65537 modulo each of many small primes."""
    primes = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
    product = 1
    for prime in primes:
        product *= prime
    modulus = 65537 + product * 2 * 3**1200
    assert modulus.bit_length() < 2048
    modulus += product * 2 * (1 << (2047 - product.bit_length()))
    with pytest.raises(KeySetError, match="CVE-2017-15361"):
        parse({"kty": "RSA", "n": b64(modulus.to_bytes(256)), "e": "AQAB"})


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"x": b64(bytes(32))}, "not a point"),
        ({"x": b64(bytes(31))}, "wrong length"),
        ({"y": b64(bytes(33))}, "wrong length"),
        ({"crv": "secp256k1"}, "curve"),
        ({"crv": ["P-256"]}, "curve"),
        ({"crv": "P-384"}, "wrong length"),
    ],
)
def test_a_point_that_is_none_is_skipped(members: dict[str, object], reason: str) -> None:
    with pytest.raises(KeySetError, match=reason):
        parse(public_jwk("one", "ES256", **members))


def test_two_keys_of_one_id_spoil_the_set() -> None:
    with pytest.raises(KeySetError, match="same kid"):
        parse(public_jwk("one"), public_jwk("two", kid="one"))
    with pytest.raises(KeySetError, match="same kid"):
        parse(public_jwk("one"), public_jwk("two", "ES256", kid="one"))


def test_an_encryption_key_may_share_the_id_of_a_signing_key() -> None:
    assert parse(public_jwk("one"), public_jwk("two", kid="one", use="enc")).find("one", "RS256") is not None


@pytest.mark.parametrize(
    "secret", [{"kty": "oct"}, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "EC", "d": "AAAA"}, {"k": "AA"}]
)
def test_a_published_secret_spoils_the_set(secret: dict[str, object]) -> None:
    with pytest.raises(KeySetError, match="private or symmetric"):
        parse(public_jwk("one"), secret)


def test_a_certificate_in_the_set_is_not_looked_at() -> None:
    jwk = public_jwk("one", x5c=["not a certificate"], x5u="file:///etc/passwd", x5t="x")
    assert parse(jwk).find("one", "RS256") is not None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not JSON"),
        (b"<!DOCTYPE html><title>Just a moment</title>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", 'no list "keys"'),
        (b'{"keys": {}}', 'no list "keys"'),
        (b'{"keys": ["a"]}', 'no list "keys"'),
        (b'{"keys": []}', "no key that we may use"),
        (b'{"keys": [], "keys": []}', "duplicate key"),
        (b'{"keys": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"\xef\xbb\xbf" + key_set_document(), "not JSON"),
        (key_set_document().decode().encode("utf-16"), "not UTF-8"),
        (b" " * 300_000, "larger than"),
        (json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode(), "more than 64 keys"),
    ],
)
def test_what_is_no_key_set_is_refused_whole(document: bytes, reason: str) -> None:
    with pytest.raises(KeySetError, match=reason):
        parse_key_set(document, algorithms=ALL)


def test_a_verification_key_fits_its_algorithm_or_is_not_made() -> None:
    rsa_public, ec_public = rsa_key("one").public_key(), ec_key("one").public_key()
    for algorithm, public_key in [
        ("ES256", rsa_public),
        ("RS256", ec_public),
        ("ES384", ec_public),
        ("HS256", rsa_public),
    ]:
        with pytest.raises(KeySetError, match="does not fit"):
            VerificationKey("one", algorithm, public_key)
    with pytest.raises(KeySetError, match="1024 bits"):
        VerificationKey("weak", "RS256", rsa_key("weak", 1024).public_key())


def test_a_set_made_by_hand_refuses_two_keys_of_one_name() -> None:
    key = VerificationKey("one", "RS256", rsa_key("one").public_key())
    with pytest.raises(KeySetError, match="same kid"):
        KeySet((key, key))
