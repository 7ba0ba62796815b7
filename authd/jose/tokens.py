"""Tokens: the strict reading before the signature, and the signature itself."""

from __future__ import annotations

import binascii
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import jwt

from authd.errors import TokenError
from authd.frozen import quick_init
from authd.jose.key_sets import ALGORITHMS, VerificationKey
from authd.jose.strict_json import parse_json_object

# Browsers and proxies drop larger cookies anyway; everything below is linear in this.
MAX_TOKEN_BYTES = 8192
# RFC 7519 leaves times unbounded; beyond 2^53 other programs read another number than we do.
MAX_TIME = 2**53

_ALPHABET = (string.ascii_letters + string.digits + "-_").encode()
_TO_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
# Those whose last four, or two, bits are 0.
_LAST_CHARACTERS = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
# More than there are keys of all issuers in use. Whoever fills this with long ones fills half a megabyte.
_REMEMBERED_HEADERS = 64
_TIMES = ("exp", "nbf", "iat")
_JWS = jwt.PyJWS(algorithms=sorted(ALGORITHMS))
_ALGORITHMS = {name: _JWS.get_algorithm_by_name(name) for name in ALGORITHMS}


@quick_init
@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A text in the shape of a signed token. Anybody may have written it.

    `text` is whole, as it came; `header` and `claims` are what it says, and `algorithm` and
    `key_id` (None where the header has none) are the header's `alg` and `kid`. `signature` is decoded.
    """

    text: str
    signature: bytes
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    algorithm: str
    key_id: str | None


def parse_unverified_token(text: str, *, max_bytes: int = MAX_TOKEN_BYTES) -> UnverifiedToken:
    """Read a token in JWS compact form (RFC 7515, 7519) without believing it.

    Raises TokenError("token_malformed") unless there are three parts of canonical unpadded
    base64url, the first two of them strict JSON objects (see `parse_json_object`), with a string
    `alg`, a string `kid` or none, no `crit` and no `b64` (we understand no extension, RFC 7515
    4.1.11), and with `exp`, `nbf` and `iat` whole numbers from 0 to 2^53 where they are present.
    Not checked: the signature, who issued it, for whom, whether it has expired.
    """
    if len(text) > max_bytes:
        raise _malformed(f"is longer than {max_bytes} bytes")
    parts = text.encode("ascii", "replace").split(b".")
    # What is left without the alphabet: a pattern takes nearly twice as long, on the hot path.
    if len(parts) != 3 or not all(parts) or b"".join(parts).translate(None, _ALPHABET):
        raise _malformed("is not three parts of base64url")
    header = _parse_header(parts[0])
    claims = _parse_part(parts[1], "payload")
    signature = _decode_base64url(parts[2], "signature")
    _check_times(claims)
    return UnverifiedToken(text, signature, header, claims, header["alg"], header.get("kid"))


def verify_signature(token: UnverifiedToken, key: VerificationKey) -> Mapping[str, Any]:
    """Return the claims of `token` if `key` signed it, else raise TokenError: `token_signature`, or `token_key_unknown`
    if the key is published for another issuer than the token names.

    The key names the one algorithm; the token's header only has to agree, and nothing else in it
    (`jwk`, `jku`, `x5u`, `x5c`) is looked at. An ECDSA signature has a valid twin (r, n-s), so two
    texts may be one token: neither revocation nor a cache may go by the text.
    Not checked: `kid` (the caller chose the key by it), and every claim; of a key that is published for one issuer, all
    but `iss`.
    """
    if token.algorithm != key.algorithm:
        raise TokenError("token_signature", "the token's algorithm is not the one of its key")
    # The library's algorithm, and not its reading of the token: that was done already, more strictly, and costs as much
    # as the signature. Its minimum for keys is no higher than ours (`VerificationKey`).
    signed = token.text.rpartition(".")[0].encode("ascii")
    if not _ALGORITHMS[key.algorithm].verify(signed, key.public_key, token.signature):
        raise TokenError("token_signature", "the token's signature does not verify")
    if not key.may_sign(token.claims):
        raise TokenError("token_key_unknown", "the token is signed with a key that is published for another issuer")
    return token.claims


def _malformed(sentence: str) -> TokenError:
    return TokenError("token_malformed", f"the token {sentence}")


@lru_cache(maxsize=_REMEMBERED_HEADERS)
def _parse_header(part: bytes) -> Mapping[str, Any]:
    """The tokens of one key begin alike."""
    header = _parse_part(part, "header")
    _check_header(header)
    return MappingProxyType(header)


def _parse_part(part: bytes, name: str) -> dict[str, Any]:
    try:
        return parse_json_object(_decode_base64url(part, name))
    except ValueError as error:
        raise _malformed(f"has a {name} that {error}") from None


def _decode_base64url(part: bytes, name: str) -> bytes:
    """`part` has no other characters than those of the alphabet."""
    over = len(part) % 4
    if over == 1:
        raise _malformed(f"has a {name} that is not base64url")
    # Left-over bits of the last character are free to choose: without this, one token has many texts.
    if over and part[-1] not in _LAST_CHARACTERS[over]:
        raise _malformed(f"has a {name} that is not canonical base64url")
    return binascii.a2b_base64(part.translate(_TO_STANDARD_ALPHABET) + b"=" * (-over % 4))


def _check_header(header: dict[str, Any]) -> None:
    if not isinstance(header.get("alg"), str):
        raise _malformed("names no algorithm")
    if "kid" in header and not isinstance(header["kid"], str):
        raise _malformed("has a kid that is not a string")
    if "crit" in header or "b64" in header:
        raise _malformed("asks for an extension, and we know none")


def _check_times(claims: dict[str, Any]) -> None:
    for name in _TIMES:
        # type(), since True is an int to isinstance().
        if name in claims and not (type(claims[name]) is int and 0 <= claims[name] <= MAX_TIME):
            raise _malformed(f"has an {name} that is not a whole number of seconds")
