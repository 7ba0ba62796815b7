"""Published key sets (RFC 7517), and which of their keys may verify anything.

No library judges a key set for us: PyJWT and joserfc take RSA keys of 1024 bits, keys that came out
of broken smart cards, symmetric keys beside public ones, and (PyJWT) two keys under one name.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from authd.errors import KeySetError
from authd.jose.strict_json import parse_json_object

# The largest key sets of public providers hold some 15 keys with certificates in 30 kB.
MAX_KEY_SET_BYTES = 256 * 1024
MAX_KEYS = 64
# NIST SP 800-131A forbids RSA below 2048 bits; above 8192 a single check becomes slow.
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
# FIPS 186-5 5.4: 2^16 < e. The upper end only keeps verification fast.
MIN_RSA_EXPONENT, MAX_RSA_EXPONENT = 65537, 2**32

_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_OF: Mapping[str, type[EllipticCurve]] = {"ES256": SECP256R1, "ES384": SECP384R1, "ES512": SECP521R1}
_CURVES: Mapping[str, EllipticCurve] = {"P-256": SECP256R1(), "P-384": SECP384R1(), "P-521": SECP521R1()}
ALGORITHMS = _RSA_ALGORITHMS.union(_CURVE_OF)

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
# Keys of CVE-2017-15361 (ROCA) are, modulo each of these primes, a power of 65537. A sound key
# looks like one of them once in 2^28.
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key that verifies signatures of exactly one algorithm.

    `key_id` is the published `kid`, and `issuer` the issuer that it is published for (Microsoft's `issuer`), each None
    where the publisher gave none. Raises KeySetError if the key is too weak, or is not of the algorithm's kind: RSA for
    RS and PS, the named curve for ES.
    """

    key_id: str | None
    algorithm: str
    public_key: RSAPublicKey | EllipticCurvePublicKey
    issuer: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.public_key, RSAPublicKey):
            fault = _fault_of_rsa(self.public_key.public_numbers())
            if fault:
                raise KeySetError(f"a key {fault}")
        if self.algorithm not in _algorithms_of(self.public_key):
            raise KeySetError(f"a key does not fit its algorithm {self.algorithm}")

    def may_sign(self, claims: Mapping[str, Any]) -> bool:
        """Whether the key is published for the issuer that these claims name, or for any.

        Microsoft's sets hold the keys of several tenants, of which one must not sign for another, and for keys of all
        of them a template that the token's own tenant (`tid`) fills.
        """
        if self.issuer is None:
            return True
        return self.issuer.replace("{tenantid}", str(claims.get("tid"))) == claims.get("iss")


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys that may verify. `skipped` tells, one clause a key, which others were published and why
    they are not among them. Raises KeySetError if two keys answer to one id and algorithm.
    """

    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...] = ()
    _by_name: Mapping[tuple[str | None, str], VerificationKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named = [key for key in self.keys if key.key_id is not None]
        by_name = {(key.key_id, key.algorithm): key for key in named}
        if len(by_name) != len(named):
            raise KeySetError("two keys have the same kid")
        object.__setattr__(self, "_by_name", by_name)

    def find(self, key_id: str, algorithm: str) -> VerificationKey | None:
        """Return the key of that id for that algorithm, or None."""
        return self._by_name.get((key_id, algorithm))

    def only_key(self, algorithm: str) -> VerificationKey | None:
        """Return the one key for that algorithm, or None if there is none, or more than one.

        For tokens without `kid`: trying one key after the other would let a publisher's
        forgotten key sign.
        """
        fitting = [key for key in self.keys if key.algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None


def parse_key_set(document: bytes, *, algorithms: frozenset[str]) -> KeySet:
    """Read a JWK Set and keep the keys that may verify one of `algorithms` (see `ALGORITHMS`).

    A key without `alg` is kept once for each of `algorithms` that fits it. Keys that we cannot use
    are skipped, as RFC 7517 5 wants: other kinds and curves, `use` or `key_ops` for something
    else, RSA under 2048 bits, values missing or malformed. The set is refused whole, with
    KeySetError, if it is not strict JSON, too large, publishes a secret, has one `kid` twice among
    the keys kept, or has no key left.
    Not checked: certificates in the set (`x5c`, `x5t`, `x5u`), which are never looked at.
    """
    keys: list[VerificationKey] = []
    skipped: list[str] = []
    names: set[str] = set()
    for position, jwk in enumerate(_parse_members(document)):
        try:
            kept = _parse_key(jwk, algorithms)
        except ValueError as error:
            skipped.append(f"key {position} {error}")
            continue
        _refuse_taken_name(kept[0].key_id, names)
        keys.extend(kept)
    if not keys:
        reasons = f": {'; '.join(skipped)}" if skipped else ""
        raise KeySetError(f"the key set has no key that we may use{reasons}")
    return KeySet(tuple(keys), tuple(skipped))


def _parse_members(document: bytes) -> list[dict[str, Any]]:
    if len(document) > MAX_KEY_SET_BYTES:
        raise KeySetError(f"the key set is larger than {MAX_KEY_SET_BYTES} bytes")
    try:
        members = parse_json_object(document).get("keys")
    except ValueError as error:
        raise KeySetError(f"the key set {error}") from None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise KeySetError('the key set has no list "keys" of objects')
    if len(members) > MAX_KEYS:
        raise KeySetError(f"the key set has more than {MAX_KEYS} keys")
    if any(member.get("kty") == "oct" or not _PRIVATE_MEMBERS.isdisjoint(member) for member in members):
        # Whoever publishes a secret has lost it, and a symmetric key beside public ones is how
        # algorithm confusion starts. Nothing else in such a set deserves trust.
        raise KeySetError("the key set publishes a private or symmetric key")
    return members


def _refuse_taken_name(key_id: str | None, names: set[str]) -> None:
    if key_id is None:
        return
    if key_id in names:
        raise KeySetError("two keys of the key set have the same kid")
    names.add(key_id)


def _parse_key(jwk: dict[str, Any], algorithms: frozenset[str]) -> list[VerificationKey]:
    """Return the key once for each algorithm; raises ValueError, a clause, if we may not use it."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("is not for signatures")
    key_id = jwk.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("has a kid that is not a string")
    public_key = _parse_public_key(jwk)
    fitting = sorted(algorithms & _algorithms_of(public_key))
    if "alg" in jwk:
        fitting = [algorithm for algorithm in fitting if algorithm == jwk["alg"]]
    if not fitting:
        raise ValueError("is for none of the allowed algorithms")
    issuer = jwk.get("issuer")
    if issuer is not None and not isinstance(issuer, str):
        raise ValueError("has an issuer that is not a string")
    return [VerificationKey(key_id, algorithm, public_key, issuer) for algorithm in fitting]


def _parse_public_key(jwk: dict[str, Any]) -> RSAPublicKey | EllipticCurvePublicKey:
    kind = jwk.get("kty")
    if kind == "RSA":
        return _parse_rsa(jwk)
    if kind == "EC":
        curve = _CURVES.get(str(jwk.get("crv")))
        if curve is None:
            raise ValueError("is on a curve that we do not know")
        return _parse_point(jwk, curve)
    raise ValueError("is of a kind that we do not know")


def _parse_rsa(jwk: dict[str, Any]) -> RSAPublicKey:
    # Judged before the library sees them: it would compute with whatever size it is given.
    numbers = RSAPublicNumbers(e=int.from_bytes(_parse_bytes(jwk, "e")), n=int.from_bytes(_parse_bytes(jwk, "n")))
    fault = _fault_of_rsa(numbers)
    if fault:
        raise ValueError(fault)
    try:
        return numbers.public_key()
    except ValueError:
        raise ValueError("is not an RSA key") from None


def _parse_point(jwk: dict[str, Any], curve: EllipticCurve) -> EllipticCurvePublicKey:
    x, y = _parse_bytes(jwk, "x"), _parse_bytes(jwk, "y")
    size = (curve.key_size + 7) // 8
    if len(x) != size or len(y) != size:
        raise ValueError("has coordinates of the wrong length")
    try:
        return EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError:
        raise ValueError("is not a point of its curve") from None


def _parse_bytes(jwk: dict[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise ValueError(f"has no {name} in base64url")
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except binascii.Error:
        raise ValueError(f"has no {name} in base64url") from None


def _algorithms_of(public_key: RSAPublicKey | EllipticCurvePublicKey) -> frozenset[str]:
    if isinstance(public_key, RSAPublicKey):
        return _RSA_ALGORITHMS
    return frozenset(name for name, curve in _CURVE_OF.items() if isinstance(public_key.curve, curve))


def _fault_of_rsa(numbers: RSAPublicNumbers) -> str | None:
    """Return why a key of these numbers must not be used, a clause, or None."""
    if not MIN_RSA_BITS <= numbers.n.bit_length() <= MAX_RSA_BITS:
        return f"is RSA with {numbers.n.bit_length()} bits, outside {MIN_RSA_BITS} to {MAX_RSA_BITS}"
    if not MIN_RSA_EXPONENT <= numbers.e <= MAX_RSA_EXPONENT:
        return f"is RSA with an exponent outside {MIN_RSA_EXPONENT} to {MAX_RSA_EXPONENT}"
    if all(numbers.n % prime in _powers_of_65537(prime) for prime in _ROCA_PRIMES):
        return "is RSA from a broken generator (CVE-2017-15361)"
    return None


def _powers_of_65537(prime: int) -> set[int]:
    return {pow(65537, exponent, prime) for exponent in range(prime - 1)}
