"""Certificate authorities of a test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority of a test's own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(name, self._key.public_key(), is_authority=True)
        self.path = directory / f"{name}.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, days: int = 1, address: str | None = None) -> Path:
        """A file with a certificate, for an address if one is given, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key.public_key(), days=days, address=address)
        pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path = self.directory / f"{self.name}-{name}.pem"
        plain = serialization.NoEncryption()
        path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, private, plain))
        return path

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        *,
        days: int = 1,
        address: str | None = None,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC) - timedelta(days=2)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
        builder = builder.not_valid_after(now + timedelta(days=2 + days))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        ours = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        own = x509.SubjectKeyIdentifier.from_public_key(key)
        builder = builder.add_extension(own, critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ours)
        builder = builder.add_extension(identifier, critical=False)
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())
