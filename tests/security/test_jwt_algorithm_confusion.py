"""J1, J2, J24, J30: the algorithm is the key's, and the token only has to agree."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authd.errors import KeySetError
from authd.jose import VerificationKey, parse_key_set
from tests.forge import as_bytes, b64, forge_token, key_set_document, public_jwk, rsa_key
from tests.security.token_targets import CLAIMS, OURS, PUBLISHED, Target, each_target, refusal_of


@each_target
def test_the_true_token_is_accepted(target: Target) -> None:
    """Without this, everything below could pass for the wrong reason."""
    assert target.verify(target.sign())


@each_target
@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "none ", "", None, ["ES256"], ["none"], 1, True, {}]
)
@pytest.mark.parametrize("signature", ["", "AA", "true"])
def test_j1_no_algorithm_is_no_signature(target: Target, algorithm: object, signature: str) -> None:
    header = b64(as_bytes(target.header | {"alg": algorithm}))
    _, payload, true_signature = target.parts()
    text = f"{header}.{payload}.{true_signature if signature == 'true' else signature}"
    assert refusal_of(target, text) in {"token_malformed", "token_key_unknown", "token_signature"}


@each_target
def test_j1_an_absent_algorithm_is_malformed(target: Target) -> None:
    assert refusal_of(target, target.sign({"typ": "JWT", "kid": target.key_id})) == "token_malformed"


def hmac_keys(target: Target) -> dict[str, bytes]:
    """Everything public that a careless verifier could take for a shared secret."""
    public_key = target.private_key.public_key()
    spki = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = public_jwk(target.key_id, target.algorithm)
    numbers = public_key.public_numbers()
    raw = numbers.n.to_bytes(256) if target.algorithm == "RS256" else numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
    keys = {
        "spki pem": spki,
        "spki pem without its last line end": spki.rstrip(b"\n"),
        "spki der": public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk).encode(),
        "jwk, compact": json.dumps(jwk, separators=(",", ":")).encode(),
        "jwks": key_set_document(jwk),
        "numbers": raw,
        "empty": b"",
        "kid": target.key_id.encode(),
    }
    if target.algorithm == "RS256":
        keys["pkcs1 pem"] = public_key.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    return keys


@each_target
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_j2_the_public_key_is_no_shared_secret(target: Target, algorithm: str) -> None:
    hash_name = f"sha{algorithm[2:]}"
    signing_input = f"{b64(as_bytes(target.header | {'alg': algorithm}))}.{b64(as_bytes(CLAIMS))}"
    for secret in hmac_keys(target).values():
        signature = hmac.new(secret, signing_input.encode(), getattr(hashlib, hash_name)).digest()
        assert refusal_of(target, f"{signing_input}.{b64(signature)}") in {"token_key_unknown", "token_signature"}


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS384", "PS512"])
def test_j24_our_key_signs_rs256_and_nothing_else(algorithm: str) -> None:
    """Each of these signatures is true, made with our own key."""
    header = OURS.header | {"alg": algorithm}
    assert refusal_of(OURS, forge_token(header, CLAIMS, OURS.private_key, algorithm)) == "token_signature"
    unsaid = forge_token(OURS.header, CLAIMS, OURS.private_key, algorithm)
    assert refusal_of(OURS, unsaid) == "token_signature"


@each_target
@pytest.mark.parametrize(
    "algorithm", ["RS1", "RS256 ", "rs256", "es256", "ES256K", "ES384", "ES521", "EdDSA", "dir", "RSA-OAEP"]
)
def test_j24_a_name_that_is_not_the_keys_algorithm_is_refused(target: Target, algorithm: str) -> None:
    text = target.sign(target.header | {"alg": algorithm})
    assert refusal_of(target, text) in {"token_key_unknown", "token_signature"}


@each_target
def test_j24_an_edwards_signature_under_our_key_id_is_refused(target: Target) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    text = forge_token(target.header | {"alg": "EdDSA"}, CLAIMS, key, "EdDSA")
    assert refusal_of(target, text) in {"token_key_unknown", "token_signature"}


def test_j24_a_key_of_the_other_family_under_a_published_id_is_refused() -> None:
    text = forge_token(PUBLISHED.header | {"alg": "RS256"}, CLAIMS, rsa_key("mallory"), "RS256")
    assert refusal_of(PUBLISHED, text) == "token_key_unknown"


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS1", ""])
def test_j30_a_key_cannot_be_made_for_a_symmetric_algorithm(algorithm: str) -> None:
    public_key: Any = rsa_key("ours").public_key()
    with pytest.raises(KeySetError, match="does not fit"):
        VerificationKey("ours", algorithm, public_key)


def test_j30_a_list_that_mixes_families_by_mistake_admits_no_symmetric_key() -> None:
    mixed = frozenset({"ES256", "HS256", "none"})
    assert {
        key.algorithm
        for key in parse_key_set(key_set_document(public_jwk("a", "ES256", alg=None)), algorithms=mixed).keys
    } == {"ES256"}
    for jwk in (public_jwk("a", "ES256", alg="HS256"), {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "a"}):
        with pytest.raises(KeySetError):
            parse_key_set(key_set_document(jwk), algorithms=mixed)
