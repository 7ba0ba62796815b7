"""Client certificates as nginx tells of them: verified or not, and whose. Only here are distinguished names read."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from authd.model import CERTIFICATES, ClientCertificate, Machine

_VERIFIED = "SUCCESS"
MAX_NAME_CHARACTERS = 2048
# What OpenSSL, and so nginx, prints beyond the names of RFC 4514.
_NAMES = {
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "title": NameOID.TITLE,
    "street": NameOID.STREET_ADDRESS,
    "postalCode": NameOID.POSTAL_CODE,
    "dnQualifier": NameOID.DN_QUALIFIER,
    "pseudonym": NameOID.PSEUDONYM,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
}


def find_client_certificate(verify: str, fingerprint: str, subject: str, issuer: str) -> ClientCertificate | None:
    """The certificate, if nginx has verified one. `subject` and `issuer` are as nginx prints them (RFC 2253).

    A name that cannot be read is nobody's: then there is no certificate, whatever nginx says of its chain.
    """
    if verify != _VERIFIED or not fingerprint:
        return None
    try:
        return ClientCertificate(parse_name(issuer), _find_common_name(subject), fingerprint)
    except ValueError:
        return None


def machine_of_certificate(certificate: ClientCertificate | None, issuers: Set[str]) -> Machine | None:
    """Who a certificate is, to the application, if an authority that the configuration names has issued it."""
    if certificate is None or certificate.issuer not in issuers:
        return None
    return Machine(CERTIFICATES, certificate.common_name or certificate.fingerprint)


@lru_cache(maxsize=1024)
def parse_name(text: str) -> str:
    """A distinguished name in one form, so that two ways to write it are equal. Raises ValueError."""
    return _parse(text).rfc4514_string()


@lru_cache(maxsize=4096)
def _find_common_name(subject: str) -> str:
    names = _parse(subject).get_attributes_for_oid(NameOID.COMMON_NAME)
    # Of several, an authority may have checked only one.
    return str(names[0].value) if len(names) == 1 else ""


def _parse(text: str) -> x509.Name:
    if not text or len(text) > MAX_NAME_CHARACTERS:
        raise ValueError("a distinguished name is empty or too long")
    return x509.Name.from_rfc4514_string(text, attr_name_overrides=_NAMES)
