"""What the provider of `tests.idp_server` can do wrong, by name.

The names are those of the OpenID conformance suite's modules for relying parties where it has one
(`oidcc-client-test-` left out), and our own otherwise. `<endpoint>-<kind>` of ENDPOINTS and KINDS
spoils a whole answer: `jwks-html-200`, `token-drip`, `discovery-slow`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from tests.forge import b64, ec_key, forge_token, public_jwk, rsa_key

Claims = dict[str, Any]

ENDPOINTS = {
    "discovery": "/.well-known/openid-configuration",
    "jwks": "/jwks",
    "token": "/token",
    "userinfo": "/userinfo",
}
KINDS = (
    "html-200",
    "500",
    "404",
    "50mb",
    "redirect",
    "drip",
    "drip-headers",
    "slow",
    "array",
    "empty",
    "gzip",
    "cut",
)


def _without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def _with(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: claims | changes


# To the ID token's claims, before they are signed.
CLAIMS: dict[str, Callable[[Claims], Claims]] = {
    "invalid-aud": _with(aud="another-client"),
    "missing-aud": _without("aud"),
    "aud-list": lambda claims: claims | {"aud": [claims["aud"]]},
    "aud-empty": _with(aud=[]),
    "aud-mixed": lambda claims: claims | {"aud": [claims["aud"], 1], "azp": claims["aud"]},
    "aud-object": lambda claims: claims | {"aud": {claims["aud"]: 1}},
    "aud-joined": lambda claims: claims | {"aud": claims["aud"] + " other"},
    "multiple-aud": lambda claims: claims | {"aud": [claims["aud"], "another-client"]},
    "multiple-aud-azp": lambda claims: claims | {"aud": [claims["aud"], "other"], "azp": claims["aud"]},
    "foreign-azp": _with(azp="another-client"),
    "invalid-iss": lambda claims: claims | {"iss": claims["iss"] + "/"},
    "iss-list": lambda claims: claims | {"iss": [claims["iss"]]},
    "missing-iss": _without("iss"),
    "missing-sub": _without("sub"),
    "empty-sub": _with(sub=""),
    "number-sub": _with(sub=7),
    "line-break-sub": _with(sub="alice\r\nX-Admin: 1"),
    "long-sub": _with(sub="a" * 256),
    "missing-iat": _without("iat"),
    "missing-exp": _without("exp"),
    "string-exp": lambda claims: claims | {"exp": str(claims["exp"])},
    "float-exp": lambda claims: claims | {"exp": claims["exp"] + 0.5},
    "expired": lambda claims: claims | {"exp": int(time.time()) - 120},
    "expired-within-leeway": lambda claims: claims | {"exp": int(time.time()) - 20},
    "from-the-future": lambda claims: claims | {"iat": int(time.time()) + 300},
    "not-yet": lambda claims: claims | {"nbf": int(time.time()) + 300},
    "nonce-invalid": lambda claims: claims | {"nonce": claims["nonce"] + "x"},
    "missing-nonce": _without("nonce"),
    "number-nonce": _with(nonce=1),
    "invalid-athash": _with(at_hash=b64(hashlib.sha256(b"another token").digest()[:16])),
    "missing-athash": _without("at_hash"),
    "logout-token": _with(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
    "distributed-claims": lambda claims: (
        _without("groups")(claims)
        | {
            "_claim_names": {"groups": "src1"},
            "_claim_sources": {"src1": {"endpoint": "http://127.0.0.1:1/"}},
        }
    ),
}


def _unsigned(header: Claims, claims: Claims, key_name: str, secret: str) -> str:
    return f"{b64(json.dumps(header | {'alg': 'none'}).encode())}.{b64(json.dumps(claims).encode())}."


def _by_stranger(header: Claims, claims: Claims, key_name: str, secret: str) -> str:
    return forge_token(header, claims, rsa_key("stranger"), "RS256")


def _with_header(algorithm: str = "RS256", **changes: Any) -> Callable[[Claims, Claims, str, str], str]:
    def sign(header: Claims, claims: Claims, key_name: str, secret: str) -> str:
        changed = {name: value for name, value in (header | changes).items() if value is not None}
        return forge_token(changed, claims, rsa_key(key_name), algorithm)

    return sign


def _with_elliptic_key(header: Claims, claims: Claims, key_name: str, secret: str) -> str:
    return forge_token(header | {"alg": "ES256", "kid": "elliptic"}, claims, ec_key("stranger"), "ES256")


def _with_client_secret(header: Claims, claims: Claims, key_name: str, secret: str) -> str:
    return forge_token(header | {"alg": "HS256"}, claims, secret.encode().ljust(32, b"."), "HS256")


def _with_embedded_key(header: Claims, claims: Claims, key_name: str, secret: str) -> str:
    return forge_token(header | {"jwk": public_jwk("stranger")}, claims, rsa_key("stranger"), "RS256")


def _with_swapped_payload(header: Claims, claims: Claims, key_name: str, secret: str) -> str:
    parts = forge_token(header, claims, rsa_key(key_name), "RS256").split(".")
    parts[1] = b64(json.dumps(claims | {"email": "mallory@example.com"}).encode())
    return ".".join(parts)


# How the ID token is signed: (header, claims, name of the provider's key, client secret) to text.
SIGNING: dict[str, Callable[[Claims, Claims, str, str], str]] = {
    "idtoken-sig-none": _unsigned,
    "invalid-sig-rs256": _by_stranger,
    "invalid-sig-es256": _with_elliptic_key,
    "invalid-sig-hs256": _with_client_secret,
    "embedded-key": _with_embedded_key,
    "swapped-payload": _with_swapped_payload,
    "kid-absent-single-jwks": _with_header(kid=None),
    "kid-absent-multiple-jwks": _with_header(kid=None),
    "unknown-kid": _with_header(kid="nobody"),
    "typ-access-token": _with_header(typ="at+jwt"),
    "typ-absent": _with_header(typ=None),
    "unlisted-algorithm": _with_header("RS384", alg="RS384"),
    "crit-header": _with_header(crit=["exp"]),
}


def _jwks(*jwks: dict[str, Any]) -> Callable[[list[Claims]], Any]:
    return lambda published: {"keys": [*published, *jwks]}


# To the key set: from the list of published keys to the document.
JWKS: dict[str, Callable[[list[Claims]], Any]] = {
    "kid-absent-multiple-jwks": lambda published: {"keys": [*published, public_jwk("second")]},
    "invalid-sig-es256": lambda published: {"keys": [*published, public_jwk("elliptic", "ES256")]},
    "jwks-duplicate-kid": lambda published: {"keys": [*published, public_jwk("stranger", kid=published[0]["kid"])]},
    "jwks-oct": _jwks({"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}),
    "jwks-private": _jwks({"kty": "RSA", "d": "AQAB", "kid": "leaked"}),
    "jwks-with-unknown-kinds": _jwks({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, {"kid": "no-kty"}, {}),
    "jwks-enc-only": lambda published: {"keys": [jwk | {"use": "enc"} for jwk in published]},
    "jwks-encrypt-ops": lambda published: {"keys": [jwk | {"key_ops": ["encrypt"]} for jwk in published]},
    "jwks-no-kty": lambda published: {"keys": [_without("kty")(jwk) for jwk in published]},
    "jwks-other-alg": lambda published: {"keys": [jwk | {"alg": "RS512"} for jwk in published]},
    "jwks-no-alg": lambda published: {"keys": [_without("alg")(jwk) for jwk in published]},
    "jwks-off-curve": lambda published: {"keys": [public_jwk("elliptic", "ES256", x=b64(bytes(32)))]},
    "jwks-10000-keys": lambda published: {"keys": published * 10_000},
    "jwks-no-keys": lambda published: {"keys": []},
    "jwks-1024-bit": lambda published: {
        "keys": [
            {
                "kty": "RSA",
                "e": "AQAB",
                "n": b64(rsa_key("weak", 1024).public_key().public_numbers().n.to_bytes(128)),
            }
        ]
    },
}

# To the parameters of the callback, as a list of pairs.
CALLBACK: dict[str, Callable[[list[tuple[str, str]]], list[tuple[str, str]]]] = {
    "callback-duplicate-code": lambda pairs: [*pairs, ("code", "another")],
    "callback-duplicate-state": lambda pairs: [*pairs, ("state", "another")],
    "callback-duplicate-iss": lambda pairs: [*pairs, ("iss", "https://other.example")],
    "callback-duplicate-error": lambda pairs: [("error", "a"), ("error", "b")],
    "callback-wrong-iss": lambda pairs: [(name, value + "/" if name == "iss" else value) for name, value in pairs],
    "callback-missing-iss": lambda pairs: [(name, value) for name, value in pairs if name != "iss"],
    "callback-error-and-code": lambda pairs: [*pairs, ("error", "access_denied")],
    "callback-empty": lambda pairs: [(name, value) for name, value in pairs if name in ("state", "iss")],
    "callback-access-denied": lambda pairs: [
        *((name, value) for name, value in pairs if name != "code"),
        ("error", "access_denied"),
        ("error_description", "<script>alert(1)</script>\r\nX-Admin: 1"),
    ],
    "callback-hostile-error": lambda pairs: [
        *((name, value) for name, value in pairs if name != "code"),
        ("error", "<script>\r\n"),
    ],
    "callback-server-error": lambda pairs: [
        *((name, value) for name, value in pairs if name != "code"),
        ("error", "server_error"),
    ],
}


def at_hash(access_token: str) -> str:
    digest = hashlib.sha256(access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
