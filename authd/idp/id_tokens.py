"""The checks of an ID token beside its signature (OpenID Connect Core 1.0, 3.1.3.7 and 3.1.3.6)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from authd.jose import UnverifiedToken

# The provider's clock and ours may differ by that. The same for every time in a token.
LEEWAY_SECONDS = 60
MAX_ID_TOKEN_BYTES = 512 * 1024
# OpenID Connect Core 1.0, 2: `sub` must not exceed 255 ASCII characters.
MAX_SUBJECT_CHARACTERS = 255
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class IdTokenError(Exception):
    """Raised if an ID token fails a check. `cause` is a stable word, the text a clause."""

    def __init__(self, cause: str, clause: str) -> None:
        self.cause = cause
        super().__init__(clause)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ID token of one login must say. `access_token` is None if none came with it."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str | None
    now: float


def check_id_token(token: UnverifiedToken, claims: Mapping[str, Any], expected: Expected) -> None:
    """Check the verified `claims` of an ID token. Raises IdTokenError.

    `iss` is ours to the letter, `aud` is us (with others only if `azp` is us), `nonce` is this
    attempt's, `exp` has not passed and `iat` and `nbf` have, with a minute of leeway, `sub` is there,
    `at_hash` fits the access token where it is given (it is optional in this flow), and nothing
    says that this is another kind of token. Not checked: `auth_time` and `acr`, which we do not ask for.
    """
    _check_kind(token, claims)
    _check_parties(claims, expected)
    _check_times(claims, expected.now)
    _check_subject(claims)
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), expected.nonce.encode()):
        raise IdTokenError("id_token_nonce", "does not answer this login (nonce)")
    if expected.access_token is not None and "at_hash" in claims:
        _check_access_token_hash(claims["at_hash"], token.algorithm, expected.access_token)


def check_refreshed(token: UnverifiedToken, claims: Mapping[str, Any], expected: Expected) -> None:
    """As `check_id_token`, of one that came with a refresh: it answers no login, so that a nonce is not looked for
    (OpenID Connect Core 1.0, 12.2). Not checked: whom it is about."""
    _check_kind(token, claims)
    _check_parties(claims, expected)
    _check_times(claims, expected.now)
    _check_subject(claims)


def check_logout_token(token: UnverifiedToken, claims: Mapping[str, Any], expected: Expected) -> None:
    """OpenID Connect Back-Channel Logout 1.0, 2.6. Raises IdTokenError.

    Not checked: that `jti` was not there before. `typ` may be missing or `JWT`: providers of before the final
    specification send it so, and the claim `events` tells the two kinds of token apart.
    """
    kind = token.header.get("typ", "logout+jwt")
    if not isinstance(kind, str) or kind.lower() not in ("logout+jwt", "application/logout+jwt", "jwt"):
        raise IdTokenError("logout_token_kind", "is another kind of token")
    _check_parties(claims, expected)
    _check_times({**claims, "exp": claims.get("exp", claims.get("iat", 0) + LEEWAY_SECONDS)}, expected.now)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(_LOGOUT_EVENT), dict):
        raise IdTokenError("logout_token_events", "says nothing of a logout")
    if "nonce" in claims:
        raise IdTokenError("logout_token_nonce", "is an ID token that poses as a logout token (nonce)")
    named = [claims[name] for name in ("sub", "sid", "jti") if name in claims]
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_SUBJECT_CHARACTERS for name in named):
        raise IdTokenError("logout_token_subject", "names its subject or session in no way that can be read")
    if "jti" not in claims or len(named) < 2:
        raise IdTokenError("logout_token_subject", "names neither a subject nor a session, or not itself (jti)")


def check_parties(claims: Mapping[str, Any], *, issuer: str, client_id: str) -> None:
    """Check that `issuer` made this for `client_id`. Raises IdTokenError. For signed userinfo too."""
    if claims.get("iss") != issuer:
        raise IdTokenError("id_token_issuer", "is not from the configured issuer")
    audiences = [claims["aud"]] if isinstance(claims.get("aud"), str) else claims.get("aud")
    if not isinstance(audiences, list) or not all(isinstance(audience, str) for audience in audiences):
        raise IdTokenError("id_token_audience", "does not say whom it is for")
    if client_id not in audiences:
        raise IdTokenError("id_token_audience", "is for another client")
    # A token for several parties could come from any of them, unless it names who asked for it.
    authorized = claims.get("azp", client_id if len(audiences) == 1 else None)
    if authorized != client_id:
        raise IdTokenError("id_token_audience", "was asked for by another client (azp)")


def _check_parties(claims: Mapping[str, Any], expected: Expected) -> None:
    check_parties(claims, issuer=expected.issuer, client_id=expected.client_id)


def _check_kind(token: UnverifiedToken, claims: Mapping[str, Any]) -> None:
    # RFC 8725 3.11: access tokens (at+jwt) and logout tokens of the same issuer are signed alike.
    kind = token.header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() != "JWT" or "events" in claims:
        raise IdTokenError("id_token_kind", "is another kind of token")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    # The parser has seen to it that all three are whole numbers where they are there.
    if "exp" not in claims or "iat" not in claims:
        raise IdTokenError("id_token_times", "does not say when it was made and when it ends")
    if now >= claims["exp"] + LEEWAY_SECONDS:
        raise IdTokenError("id_token_expired", "has expired; do the clocks agree?")
    if max(claims["iat"], claims.get("nbf", 0)) > now + LEEWAY_SECONDS:
        raise IdTokenError("id_token_not_yet_valid", "is from the future; do the clocks agree?")


def _check_subject(claims: Mapping[str, Any]) -> None:
    subject = claims.get("sub")
    is_subject = isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT_CHARACTERS
    if not is_subject or not str(subject).isprintable():
        raise IdTokenError("id_token_subject", "does not say who it is about (sub)")


def _check_access_token_hash(unverified: Any, algorithm: str, access_token: str) -> None:
    # SHA-256, SHA-384 or SHA-512, as the three digits of the algorithm say; the left half of it.
    digest = _HASHES[algorithm[-3:]](access_token.encode()).digest()
    left_half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")
    if unverified != left_half:
        raise IdTokenError("id_token_access_hash", "does not belong to its access token (at_hash)")


_HASHES: Mapping[str, Callable[[bytes], Any]] = {
    "256": hashlib.sha256,
    "384": hashlib.sha384,
    "512": hashlib.sha512,
}
