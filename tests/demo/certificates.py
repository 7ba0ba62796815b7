"""A certificate authority for *.localhost that signs one certificate; then its key is thrown away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 365
# Renewed before that, so that a demonstration that stays open for days does not end in a warning.
RENEW_DAYS = 14
Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def ensure_certificates(directory: Path, hosts: Sequence[str], now: datetime | None = None) -> datetime:
    """Make `ca.pem`, `server.pem` and `server.key` unless those that are there still serve; until when they do.

    The authority is kept for as long as possible, for those who told their browser to trust it. That is safe
    to do: its private key is never written to disk, and its name constraint allows *.localhost (and those of
    `hosts` that are not under it) only.
    """
    now = now or datetime.now(UTC)
    valid_until = _find_valid_until(directory, hosts)
    if valid_until and valid_until - now > timedelta(days=RENEW_DAYS):
        return valid_until
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _sign_ca(ca_key, hosts, now)
    server = _sign_server(server_key.public_key(), hosts, ca, ca_key, now)
    _write(directory / "server.key", _key_pem(server_key), 0o600)
    _write(directory / "server.pem", _pem(server), 0o644)
    _write(directory / "ca.pem", _pem(ca), 0o644)
    return server.not_valid_after_utc


def _find_valid_until(directory: Path, hosts: Sequence[str]) -> datetime | None:
    """When the certificate on disk ends; None if there is none, or it is not for these hosts."""
    try:
        ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        server = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
        key = serialization.load_pem_private_key((directory / "server.key").read_bytes(), password=None)
        server.verify_directly_issued_by(ca)
        names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return None
    serves = set(hosts) <= set(names.get_values_for_type(x509.DNSName)) and key.public_key() == server.public_key()
    return server.not_valid_after_utc if serves else None


def _sign_ca(key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], now: datetime) -> x509.Certificate:
    allowed = ["localhost", *(host for host in hosts if not host.endswith(".localhost"))]
    constraints = x509.NameConstraints([x509.DNSName(name) for name in allowed], excluded_subtrees=None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authd demonstration, made {now:%d %b %Y %H:%M}")])
    extensions: Extensions = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (constraints, True),
        (_key_usage(signs_certificates=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    return _sign(name, name, key.public_key(), key, now, extensions)


def _sign_server(
    public_key: ec.EllipticCurvePublicKey,
    hosts: Sequence[str],
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    # Each host by name: browsers refuse a wildcard that stands directly under a top-level name.
    names = [x509.DNSName(host) for host in ("*.localhost", *hosts)]
    extensions: Extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName(names), False),
        (_key_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
    ]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    return _sign(subject, ca.subject, public_key, ca_key, now, extensions)


def _sign(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    extensions: Extensions,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=VALID_DAYS))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
