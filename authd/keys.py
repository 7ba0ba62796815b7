"""The keys that sign authd's tokens: made, written down, read back, published.

A `Keyring` is an immutable set of keys. One of them signs now; all of them verify until `verifies_until`. The next one
is published long before it signs, so that verifiers which cache the key set for a day (cloudflared does) know it in
time. How a keyring changes is told in `rotation`.

Shape of the published document: Cloudflare Access, `GET /cdn-cgi/access/certs` (reference/access-wire.md 2.7).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from jwt.algorithms import RSAAlgorithm

from authd.errors import StoreDamagedError

SIGNING_ALGORITHM = "RS256"
KEY_BITS = 2048
ROTATION_SECONDS = 42 * 86400
PUBLISHED_BEFORE_SIGNING_SECONDS = 86400
# A key verifies for 7 days after it last signed (design 4), or longer where a token of it may live longer.
LEAST_VERIFYING_SECONDS = 7 * 86400
# A worker may go on signing with the old key for its upkeep minute, and clocks of machines differ.
FOLLOWING_SECONDS = 600
# No session lasts longer than 31 days (config), so a key that is followed in time never outlives its certificate.
_CERTIFIED_AFTER_SIGNING_SECONDS = 32 * 86400


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One RSA key. Times are Unix seconds; it signs from `signs_from` until the next key's `signs_from`.

    `longest_token_seconds` is how long any token can live that it has signed.
    """

    key_id: str
    private_key: RSAPrivateKey
    certificate_pem: str
    created_at: int
    signs_from: int
    verifies_until: int
    longest_token_seconds: int = LEAST_VERIFYING_SECONDS

    @property
    def public_key(self) -> RSAPublicKey:
        return self.private_key.public_key()


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys that count, in the order in which they sign. Never empty."""

    keys: tuple[SigningKey, ...]

    def signing_key(self, now: float) -> SigningKey:
        """The youngest key that may sign now; before the first one may, the first."""
        ready = [key for key in self.keys if key.signs_from <= now]
        return ready[-1] if ready else self.keys[0]

    def find_next_key(self, now: float) -> SigningKey | None:
        """The key that is published and does not sign yet."""
        return next((key for key in self.keys if key.signs_from > now), None)

    def find_key(self, key_id: str, now: float) -> SigningKey | None:
        """The key of that id if it still verifies."""
        # Asked at each check: a generator costs three times as much.
        for key in self.keys:
            if key.key_id == key_id and now < key.verifies_until:
                return key
        return None

    def render_document(self, now: float) -> dict[str, Any]:
        """The key set as Cloudflare shapes it: `keys`, `public_cert` (the one that signs now), `public_certs`."""
        published = [key for key in self.keys if now < key.verifies_until]
        certificates = [{"kid": key.key_id, "cert": key.certificate_pem} for key in published]
        signing_id = self.signing_key(now).key_id
        return {
            "keys": [render_jwk(key.key_id, key.public_key) for key in published],
            "public_cert": next(entry for entry in certificates if entry["kid"] == signing_id),
            "public_certs": certificates,
        }


def render_jwk(key_id: str, public_key: RSAPublicKey) -> dict[str, Any]:
    """RFC 7517 with `use` and `alg`, public members only."""
    numbers = RSAAlgorithm.to_jwk(public_key, as_dict=True)
    return {
        "kid": key_id,
        "kty": "RSA",
        "alg": SIGNING_ALGORITHM,
        "use": "sig",
        "e": numbers["e"],
        "n": numbers["n"],
    }


def generate_keyring(*, team_domain: str, now: int) -> Keyring:
    """Two keys: one signs now, the other is published in advance and takes over at the first rotation."""
    return Keyring(
        (
            generate_signing_key(team_domain=team_domain, now=now, signs_from=now),
            generate_signing_key(team_domain=team_domain, now=now, signs_from=now + ROTATION_SECONDS),
        )
    )


def generate_signing_key(
    *,
    team_domain: str,
    now: int,
    signs_from: int,
    generate: Callable[[], RSAPrivateKey] = lambda: generate_private_key(public_exponent=65537, key_size=KEY_BITS),
) -> SigningKey:
    """Make one key with a self-signed certificate. Its id is the SHA-256 of its public key, 64 hex digits."""
    private_key = generate()
    public_der = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signs_until = signs_from + ROTATION_SECONDS
    certified_until = signs_until + _CERTIFIED_AFTER_SIGNING_SECONDS
    return SigningKey(
        key_id=hashlib.sha256(public_der).hexdigest(),
        private_key=private_key,
        certificate_pem=_self_sign(private_key, team_domain, not_before=now, not_after=certified_until),
        created_at=now,
        signs_from=signs_from,
        verifies_until=signs_until + LEAST_VERIFYING_SECONDS + FOLLOWING_SECONDS,
    )


def schedule_key(key: SigningKey, *, team_domain: str, signs_until: int) -> SigningKey:
    """The key with its end where it follows from the end of its signing; with a longer certificate if need be."""
    verifies_until = signs_until + key.longest_token_seconds + FOLLOWING_SECONDS
    if verifies_until == key.verifies_until:
        return key
    certificate = x509.load_pem_x509_certificate(key.certificate_pem.encode())
    pem = key.certificate_pem
    if certificate.not_valid_after_utc.timestamp() < verifies_until:
        pem = _self_sign(key.private_key, team_domain, not_before=key.created_at, not_after=verifies_until)
    return replace(key, verifies_until=verifies_until, certificate_pem=pem)


def _self_sign(private_key: RSAPrivateKey, team_domain: str, *, not_before: int, not_after: int) -> str:
    # X.509 bounds a common name at 64 characters (RFC 5280, ub-common-name).
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, team_domain[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(not_before - 300, UTC))
        .not_valid_after(datetime.fromtimestamp(not_after, UTC))
        .sign(private_key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def render_keyring(keyring: Keyring) -> bytes:
    """The keyring with its private keys in clear, as JSON: seal it before it leaves the process."""
    return json.dumps([_render_key(key) for key in keyring.keys]).encode()


def _render_key(key: SigningKey) -> dict[str, Any]:
    pem = key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "key_id": key.key_id,
        "private_key": pem.decode(),
        "certificate": key.certificate_pem,
        "created_at": key.created_at,
        "signs_from": key.signs_from,
        "verifies_until": key.verifies_until,
        "longest_token_seconds": key.longest_token_seconds,
    }


def parse_keyring(document: bytes) -> Keyring:
    """Read what `render_keyring` wrote. Raises StoreDamagedError if it is anything else."""
    try:
        keys = tuple(_parse_keys(json.loads(document)))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamagedError(f"the keyring in the store cannot be read ({type(error).__name__})") from error
    if not keys:
        raise StoreDamagedError("the keyring in the store is empty")
    return Keyring(keys)


def _parse_keys(entries: Iterable[dict[str, Any]]) -> Iterable[SigningKey]:
    for entry in entries:
        # Not proved prime again: the row is sealed, so it is what we wrote, and a worker that starts is waited for.
        private_key = load_pem_private_key(
            entry["private_key"].encode(), password=None, unsafe_skip_rsa_key_validation=True
        )
        if not isinstance(private_key, RSAPrivateKey):
            raise TypeError("not an RSA key")
        yield SigningKey(
            key_id=entry["key_id"],
            private_key=private_key,
            certificate_pem=entry["certificate"],
            created_at=entry["created_at"],
            signs_from=entry["signs_from"],
            verifies_until=entry["verifies_until"],
            # A keyring of the first version says nothing of it: any session that can be configured.
            longest_token_seconds=entry.get("longest_token_seconds", 31 * 86400),
        )
