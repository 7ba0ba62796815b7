"""Tokens as the Access edge of a team issues them, signed with the keys that the tests' provider publishes."""

from __future__ import annotations

from typing import Any

from tests.forge import forge_token, rsa_key

NOW = 1_800_000_000
TEAM = "https://myteam.cloudflareaccess.com"
AUD = "32eafc7626e737acd26d43a3f18e0a8c1d0a3f5d7c9e2b4a6f8091a2b3c4d5e6"
OTHER_AUD = "f" * 64

# As live tokens are (reference/access-wire.md 2.2): with claims that nobody documents.
PERSON: dict[str, Any] = {
    "aud": [AUD],
    "email": "Alice@example.com",
    "exp": NOW + 3600,
    "iat": NOW,
    "nbf": NOW,
    "iss": TEAM,
    "type": "app",
    "identity_nonce": "6ei69kawdKzMIAPF",
    "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
    "country": "US",
    "policy_id": "1c4d2e9f-7f43-4d0e-9a55-0d8a0e4f6b11",
    "custom": {"groups": ["staff", {"id": "7", "name": "admins"}], "department": "research"},
    "h_INTERNAL_DO_NOT_USE": "app.example.net",
}
# Reference 2.3: no `nbf`, no `email`, and `aud` is a bare string.
MACHINE: dict[str, Any] = {
    "aud": AUD,
    "common_name": "88bf3b6d86161464f6509f7219099e57.access",
    "exp": NOW + 3601,
    "iat": NOW,
    "iss": TEAM,
    "sub": "",
    "type": "app",
}
ORGANISATION = PERSON | {"type": "org", "aud": ["e" * 64], "account_id": "1" * 32, "identity": {"id": "1"}}
META = {"type": "meta", "aud": AUD, "hostname": "app.example.net", "iat": NOW, "nbf": NOW, "exp": NOW + 300}


def sign(
    claims: dict[str, Any] = PERSON, *, key: str = "provider-1", header: dict[str, Any] | None = None, **changes: Any
) -> str:
    """A token of these claims with changes (`...` removes one), signed with the key of that name."""
    whole = {name: value for name, value in (claims | changes).items() if value is not ...}
    wanted = {"alg": "RS256", "kid": key, "typ": "JWT"} | (header or {})
    return forge_token(
        {name: value for name, value in wanted.items() if value is not ...}, whole, rsa_key(key), "RS256"
    )
