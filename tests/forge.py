"""Tokens and key sets made by hand, byte for byte, with real keys and real signatures.

A token library refuses to write most of what an attacker sends, so the parts are put together
here, and only the mathematics is the library's.
"""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
GOOD_CLAIMS: dict[str, Any] = {
    "iss": "https://auth.example.com",
    "aud": ["a" * 64],
    "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
    "email": "alice@example.com",
    "iat": 1_800_000_000,
    "nbf": 1_800_000_000,
    "exp": 1_800_086_400,
}


@functools.cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The RSA key of that name; the same one however often it is asked for."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def ec_key(name: str, algorithm: str = "ES256") -> ec.EllipticCurvePrivateKey:
    """The key of that name on the algorithm's curve."""
    return ec.generate_private_key(CURVES[algorithm])


def signing_key(name: str, algorithm: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    return ec_key(name, algorithm) if algorithm in CURVES else rsa_key(name)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def as_bytes(part: bytes | str | dict[str, Any]) -> bytes:
    if isinstance(part, dict):
        return json.dumps(part).encode()
    return part.encode() if isinstance(part, str) else part


def forge_token(
    header: bytes | str | dict[str, Any],
    payload: bytes | str | dict[str, Any],
    key: Any,
    algorithm: str,
) -> str:
    """Sign exactly these bytes with `algorithm`, whatever `header` says about it."""
    signing_input = f"{b64(as_bytes(header))}.{b64(as_bytes(payload))}"
    method = jwt.PyJWS(algorithms=[algorithm]).get_algorithm_by_name(algorithm)
    return f"{signing_input}.{b64(method.sign(signing_input.encode(), key))}"


def good_token(key_name: str = "ours", algorithm: str = "RS256", **claims: Any) -> str:
    header = {"alg": algorithm, "typ": "JWT", "kid": key_name}
    return forge_token(header, GOOD_CLAIMS | claims, signing_key(key_name, algorithm), algorithm)


def public_jwk(name: str, algorithm: str = "RS256", **members: Any) -> dict[str, Any]:
    """The public key of that name as a provider publishes it; None removes a member."""
    public_key = signing_key(name, algorithm).public_key()
    method = jwt.PyJWS(algorithms=[algorithm]).get_algorithm_by_name(algorithm)
    jwk = method.to_jwk(public_key, as_dict=True) | {"kid": name, "use": "sig", "alg": algorithm}
    jwk.pop("key_ops", None)
    return {key: value for key, value in (jwk | members).items() if value is not None}


def key_set_document(*jwks: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(jwks)}).encode()
