"""Signed tokens and key sets, read strictly: our own, and those of identity providers.

Nothing here decides who may do what. `parse_unverified_token` says that a text has the shape of a
token, `verify_signature` that a certain key signed it, `parse_key_set` that published keys are fit
to be trusted. Issuer, audience, times and type are the caller's to check.
"""

from authd.jose.key_sets import KeySet, VerificationKey, parse_key_set
from authd.jose.strict_json import parse_json_array, parse_json_object
from authd.jose.tokens import UnverifiedToken, parse_unverified_token, verify_signature

__all__ = [
    "KeySet",
    "UnverifiedToken",
    "VerificationKey",
    "parse_json_array",
    "parse_json_object",
    "parse_key_set",
    "parse_unverified_token",
    "verify_signature",
]
