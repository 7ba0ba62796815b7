"""Sealing: small values that only we can have written, and that mean something in one place only.

Everything that grants something and leaves the process (rows of the store, cookies of a login attempt, parameters that
travel through a browser) is encrypted and authenticated with the key of `secret_file`, bound to its kind and id:
whoever can write to the store or edit a cookie can neither forge a value nor move one to another place.

AES-256-GCM (NIST SP 800-38D) with a random 96 bit nonce; one key per kind, derived by HKDF-SHA256 (RFC 5869).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authd.errors import SealError, SecretError

SECRET_BYTES = 32
_NONCE_BYTES = 12
_FINGERPRINT_BYTES = 4
_VERSION = b"\x01"
_HEADER_BYTES = len(_VERSION) + _FINGERPRINT_BYTES + _NONCE_BYTES


class Sealer:
    """Seals with the first secret and opens with any of them, so that a secret can be replaced without logging anyone
    out."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """`secrets` are 32 bytes each. Raises SecretError if there is none or one has another length."""
        if not secrets or any(len(secret) != SECRET_BYTES for secret in secrets):
            raise SecretError(f"a secret has {SECRET_BYTES} bytes, and there is at least one")
        self._by_fingerprint = {_fingerprint(secret): secret for secret in secrets}
        self._current = _fingerprint(secrets[0])
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}

    def seal(self, kind: str, id_: str, plaintext: bytes) -> bytes:
        """Encrypt for exactly this kind and id. Sealing twice gives two different values."""
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = self._cipher(self._current, kind).encrypt(nonce, plaintext, id_.encode())
        return _VERSION + self._current + nonce + ciphertext

    def open(self, kind: str, id_: str, unverified_sealed: bytes) -> bytes:
        """Return the plaintext. Raises SealError unless it was sealed by us for this kind and id.

        Not checked: age. A value that must end carries its own time.
        """
        fingerprint = unverified_sealed[1 : 1 + _FINGERPRINT_BYTES]
        if unverified_sealed[:1] != _VERSION or fingerprint not in self._by_fingerprint:
            raise SealError(f"a value of kind {kind} was not sealed with a secret that we hold")
        nonce = unverified_sealed[1 + _FINGERPRINT_BYTES : _HEADER_BYTES]
        try:
            return self._cipher(fingerprint, kind).decrypt(nonce, unverified_sealed[_HEADER_BYTES:], id_.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError(f"a sealed value of kind {kind} is forged, damaged or meant for another id") from error

    def authenticate(self, kind: str, id_: str, secret: str) -> bytes:
        """What may be kept of a secret instead of the secret: HMAC-SHA256 under a key of this kind, for exactly this
        id."""
        return self._current + self._mac(self._current, kind, id_, secret)

    def is_authentic(self, kind: str, id_: str, unverified_secret: str, kept: bytes) -> bool:
        """Whether `kept` was made from this secret, with any of our secrets. Takes as long for a wrong one."""
        fingerprint = kept[:_FINGERPRINT_BYTES]
        known = fingerprint if fingerprint in self._by_fingerprint else self._current
        mac = self._mac(known, kind, id_, unverified_secret)
        return hmac.compare_digest(known + mac, kept)

    def _mac(self, fingerprint: bytes, kind: str, id_: str, secret: str) -> bytes:
        derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"authd mac\n" + kind.encode())
        key = derivation.derive(self._by_fingerprint[fingerprint])
        return hmac.digest(key, f"{id_}\n{secret}".encode(), "sha256")

    def seal_text(self, kind: str, id_: str, plaintext: bytes) -> str:
        """As `seal`, in unpadded base64url: fit for a cookie or a URL."""
        return base64.urlsafe_b64encode(self.seal(kind, id_, plaintext)).rstrip(b"=").decode()

    def open_text(self, kind: str, id_: str, unverified_sealed: str) -> bytes:
        """The opposite of `seal_text`. Raises SealError."""
        padding = "=" * (-len(unverified_sealed) % 4)
        try:
            decoded = base64.b64decode((unverified_sealed + padding).encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise SealError(f"a sealed value of kind {kind} is not base64url") from error
        return self.open(kind, id_, decoded)

    def _cipher(self, fingerprint: bytes, kind: str) -> AESGCM:
        cipher = self._ciphers.get((fingerprint, kind))
        if cipher is None:
            derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"authd seal\n" + kind.encode())
            cipher = AESGCM(derivation.derive(self._by_fingerprint[fingerprint]))
            self._ciphers[(fingerprint, kind)] = cipher
        return cipher


def _fingerprint(secret: bytes) -> bytes:
    return hashlib.sha256(b"authd secret fingerprint\n" + secret).digest()[:_FINGERPRINT_BYTES]


def load_sealer(path: Path) -> Sealer:
    """Read `secret_file`: lines of 32 bytes in base64, the first encrypts, all decrypt.

    Raises SecretError if it cannot be read, is open to others than owner and group, or holds a bad line. The error
    never holds any of the file's content.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text("ascii").split()
    except FileNotFoundError as error:
        raise SecretError(
            f"{path}: no such file; make one with: (umask 077; openssl rand -base64 32 > {path})"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"{path}: cannot be read as text ({type(error).__name__})") from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise SecretError(f"{path}: others can read it or its group can write it; run: chmod 0600 {path}")
    return Sealer([_parse_secret(path, number, line) for number, line in enumerate(lines, start=1)])


def _parse_secret(path: Path, line_number: int, line: str) -> bytes:
    try:
        secret = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SecretError(f"{path}: line {line_number} is not base64") from error
    if len(secret) != SECRET_BYTES:
        raise SecretError(f"{path}: line {line_number} has {len(secret)} bytes, not {SECRET_BYTES}")
    return secret
