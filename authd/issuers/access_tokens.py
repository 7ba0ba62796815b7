"""What an Access edge says about a visitor: tokens of another authd, or of Cloudflare Access itself.

Shapes: reference/access-wire.md 2.1 to 2.3; checks: 5.1. A person's token has `sub` and usually `email`; a machine's (a
service token, a client certificate) has `common_name` and an empty `sub`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authd.config import parse_email
from authd.errors import TokenError
from authd.idp.identities import find_group_names
from authd.jose import UnverifiedToken
from authd.model import Identity, Machine, Reason

ACCESS_ALGORITHMS = frozenset({"RS256"})
# The clocks of edge and origin may differ.
CLOCK_LEEWAY_SECONDS = 60
# An e-mail address at most, behind the id of an issuer.
_MAX_NAME_CHARACTERS = 320
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who a token speaks for: exactly one of both. `session_id` is what the issuer's own log calls it, or empty."""

    identity: Identity | None
    machine: Machine | None
    session_id: str
    expires_at: int


def check_access_header(token: UnverifiedToken) -> None:
    """Refuse what no Access edge signs. Cloudflare leaves `typ` out now and then."""
    if token.algorithm not in ACCESS_ALGORITHMS:
        raise TokenError(Reason.TOKEN_SIGNATURE, "the token is not signed with RS256")
    if token.header.get("typ", "JWT") != "JWT":
        raise TokenError(Reason.TOKEN_TYPE, "the token is of another kind (typ)")


def read_access_token(claims: Mapping[str, Any], *, issuer: str, audience: str, now: float) -> Bearer:
    """Who the visitor is, from claims whose signature was verified. Raises TokenError.

    Unknown claims are ignored, since they appear without notice. Times are whole numbers already, where present.
    """
    if claims.get("iss") != issuer:
        raise TokenError(Reason.TOKEN_ISSUER, "the token was issued by somebody else")
    if claims.get("type") != "app":
        raise TokenError(Reason.TOKEN_TYPE, "the token is not of type app")
    check_audience(claims.get("aud"), (audience,))
    expires_at = check_times(claims, now)
    session_id = claims.get("identity_nonce", "")
    if not isinstance(session_id, str):
        raise TokenError(Reason.TOKEN_MALFORMED, "the token's identity_nonce is no text")
    if claims.get("sub") == "":
        return Bearer(None, _read_machine(claims, issuer), session_id, expires_at)
    return Bearer(_read_person(claims, issuer), None, session_id, expires_at)


def check_audience(unverified: Any, wanted: Sequence[str]) -> None:
    """`aud` is one of those that are wanted, or a list of texts that holds one. Raises TokenError."""
    values = unverified if isinstance(unverified, list) else [unverified]
    if not all(isinstance(value, str) for value in values) or not any(audience in values for audience in wanted):
        raise TokenError(Reason.TOKEN_AUDIENCE, "the token is for another application")


def check_times(claims: Mapping[str, Any], now: float) -> int:
    """`exp`, which must be there, still ahead, and `nbf` and `iat`, where they are, not. Raises TokenError."""
    expires_at = claims.get("exp")
    if not isinstance(expires_at, int) or expires_at <= now:
        raise TokenError(Reason.TOKEN_EXPIRED, "the token has expired")
    if max(claims.get("nbf", 0), claims.get("iat", 0)) > now + CLOCK_LEEWAY_SECONDS:
        raise TokenError(Reason.TOKEN_NOT_YET_VALID, "the token is not valid yet; is a clock wrong?")
    return expires_at


def require_name(value: Any, what: str) -> str:
    """Text that may stand in a log line and a header. Raises TokenError."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME_CHARACTERS or _CONTROL.search(value):
        raise TokenError(Reason.TOKEN_MALFORMED, f"the token has no usable {what}")
    return value


def _read_machine(claims: Mapping[str, Any], issuer: str) -> Machine:
    # With an address it would be a person to the application and a machine to the policies.
    if "email" in claims:
        raise TokenError(Reason.TOKEN_MALFORMED, "the token names a person and a machine")
    name = require_name(claims.get("common_name"), "common_name")
    return Machine(issuer, name, claims={"common_name": name})


def _read_person(claims: Mapping[str, Any], issuer: str) -> Identity:
    subject = require_name(claims.get("sub"), "sub")
    written = claims.get("email")
    address = require_name(written, "email") if written is not None else None
    custom = claims.get("custom")
    kept = custom if isinstance(custom, dict) else {}
    return Identity(
        subject=subject,
        provider_id=issuer,
        provider_subject=subject,
        email=parse_email(address) if address else None,
        unverified_email=address,
        name=None,
        groups=find_group_names(kept.get("groups")),
        auth_methods=_read_texts(claims.get("amr")),
        claims=kept,
    )


def _read_texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
