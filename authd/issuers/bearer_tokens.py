"""Bearer tokens of other issuers, which machines bring: jobs of GitHub or GitLab, service accounts of Kubernetes.

A token that says "this person logged in" (an ID token) is no such token, whoever signed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authd.config import TokenIssuerConfig
from authd.errors import TokenError
from authd.idp.identities import find_group_names
from authd.issuers.access_tokens import Bearer, check_audience, check_times, require_name
from authd.jose import UnverifiedToken
from authd.model import Machine, Reason

# What only ID tokens of a login (OpenID Connect Core 1.0, 2 and 3.3.2.11) and logout tokens have.
_CLAIMS_OF_LOGINS = frozenset({"nonce", "at_hash", "c_hash", "events"})


def check_bearer_header(token: UnverifiedToken, issuer: TokenIssuerConfig) -> None:
    """Algorithm and `typ` are among those of the configuration. Raises TokenError."""
    if token.algorithm not in issuer.algorithms:
        raise TokenError(Reason.TOKEN_SIGNATURE, "the token is signed with an algorithm that is not allowed")
    written = token.header.get("typ", "JWT")
    # RFC 7515 4.1.9: in whatever case, with "application/" or without.
    kind = written.lower().removeprefix("application/") if isinstance(written, str) else ""
    if kind not in {allowed.lower() for allowed in issuer.types}:
        raise TokenError(Reason.TOKEN_TYPE, "the token is of another kind (typ)")


def read_bearer_token(claims: Mapping[str, Any], issuer: TokenIssuerConfig, now: float) -> Bearer:
    """Which machine it is, from claims whose signature was verified. Raises TokenError."""
    if claims.get("iss") != issuer.issuer:
        raise TokenError(Reason.TOKEN_ISSUER, "the token was issued by somebody else")
    if not _CLAIMS_OF_LOGINS.isdisjoint(claims):
        raise TokenError(Reason.TOKEN_TYPE, "the token is about the login of a person")
    check_audience(claims.get("aud"), issuer.audiences)
    expires_at = check_times(claims, now)
    subject = require_name(claims.get(issuer.subject_claim), issuer.subject_claim)
    groups = find_group_names(claims.get(issuer.groups_claim)) if issuer.groups_claim else ()
    # With the issuer's id: two issuers may name two machines alike.
    machine = Machine(issuer.id, f"{issuer.id}/{subject}", groups, _split_scope(claims, issuer.scope_claim))
    return Bearer(None, machine, "", expires_at)


def _split_scope(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A scope is a text of words with spaces between (RFC 8693 4.2), and a rule asks for one of them."""
    scope = claims.get(name)
    return {**claims, name: tuple(scope.split())} if isinstance(scope, str) else claims
