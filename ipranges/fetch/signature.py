"""A detached Ed25519 signature beside a list of one's own: whoever takes the web server over cannot widen it."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ipranges.errors import RefusedError

SUFFIX = ".sig"
_SIGNATURE_BYTES = 64


def verify_signature(public_key: str, body: bytes, unverified_signature: bytes) -> None:
    """Raises RefusedError unless the signature, raw or in base64, is the key's over the body's exact bytes.

    NOT checked: how old the list is; `serial` is for that, since an old list's signature stays good.
    """
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key)).verify(_decode(unverified_signature), body)
    except (InvalidSignature, binascii.Error):
        raise RefusedError("the signature is not the configured key's over this list") from None


def _decode(signature: bytes) -> bytes:
    if len(signature) == _SIGNATURE_BYTES:
        return signature
    return base64.b64decode(signature.strip(), validate=True)
