"""Who an attacker sends tokens to, with the true key to build the attack around.

Two of them, so that every construction is tried against both ways in: a provider's published keys (ES256), and
authd's own tokens (RS256).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from authd.errors import TokenError
from authd.jose import parse_key_set, parse_unverified_token, verify_signature
from authd.keys import Keyring, SigningKey
from authd.model import Reason
from authd.tokens import Tokens
from tests.forge import b64, forge_token, key_set_document, public_jwk, signing_key, unb64

NOW = 1_800_000_000
AUDIENCE = "a" * 64
ISSUER = "https://auth.example.com"
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": [AUDIENCE],
    "type": "app",
    "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
    "identity_nonce": "6ei69kawdKzMIAPF",
    "email": "alice@example.com",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3600,
}


@dataclass(frozen=True)
class Target:
    """`verify` returns something for a good token and raises TokenError for any other text."""

    name: str
    algorithm: str
    key_id: str
    private_key: Any
    verify: Callable[[str], Any]

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": self.algorithm, "typ": "JWT", "kid": self.key_id}

    def sign(self, header: Any = None, payload: Any = None) -> str:
        """These bytes (or the good ones) under a true signature."""
        return forge_token(
            self.header if header is None else header,
            CLAIMS if payload is None else payload,
            self.private_key,
            self.algorithm,
        )

    def parts(self) -> tuple[str, str, str]:
        header, payload, signature = self.sign().split(".")
        return header, payload, signature

    def with_signature(self, change: Callable[[bytes], bytes]) -> str:
        header, payload, signature = self.parts()
        return f"{header}.{payload}.{b64(change(unb64(signature)))}"


def _published() -> Target:
    # Two keys of one kind: a token without `kid` could be of either.
    document = key_set_document(public_jwk("theirs", "ES256"), public_jwk("second", "ES256"))
    keys = parse_key_set(document, algorithms=frozenset({"ES256", "RS256"}))

    def verify(text: str) -> Any:
        token = parse_unverified_token(text)
        name, algorithm = token.key_id, token.algorithm
        key = keys.only_key(algorithm) if name is None else keys.find(name, algorithm)
        if key is None:
            raise TokenError(Reason.TOKEN_KEY_UNKNOWN, "no such key")
        return verify_signature(token, key)

    return Target("published", "ES256", "theirs", signing_key("theirs", "ES256"), verify)


def our_tokens(clock: Callable[[], float] = lambda: NOW) -> Tokens:
    private_key: Any = signing_key("ours", "RS256")
    key = SigningKey("ours", private_key, "", NOW - 100, NOW - 100, 2**40)
    return Tokens(issuer=ISSUER, keyring=lambda: Keyring((key,)), clock=clock)


def _ours() -> Target:
    tokens = our_tokens()
    return Target(
        "ours",
        "RS256",
        "ours",
        signing_key("ours", "RS256"),
        lambda text: tokens.verify_application_token(parse_unverified_token(text), AUDIENCE),
    )


PUBLISHED, OURS = _published(), _ours()
each_target = pytest.mark.parametrize("target", [PUBLISHED, OURS], ids=lambda target: target.name)


def refusal_of(target: Target, text: str) -> str:
    """The code with which the target refuses; fails if it accepts, or raises anything but TokenError."""
    with pytest.raises(TokenError) as refusal:
        target.verify(text)
    message = str(refusal.value)
    assert refusal.value.code in set(Reason)
    assert len(message) < 200
    assert not any(part and len(part) > 8 and part in message for part in text.split("."))
    return refusal.value.code
