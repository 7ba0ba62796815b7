"""What a provider says about itself (OpenID Connect Discovery 1.0, RFC 8414, RFC 9207)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from authd.jose import parse_json_object

# What Cloudflare Access takes from generic providers (its page "Generic OIDC"). Symmetric ones are
# left out on purpose: with them the client secret would sign, and anything that knows it could.
ALGORITHMS = frozenset({"RS256", "RS512", "PS512", "ES256", "ES384", "ES512"})

MAX_METADATA_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The parts of the discovery document that we use, checked.

    `algorithms` are those that both the provider and we accept for ID tokens.
    `sends_issuer` says that every authorization response carries `iss` (RFC 9207).
    `secret_goes_in_body`: the provider takes client_secret_post and not client_secret_basic.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    jwks_uri: str
    algorithms: frozenset[str]
    sends_issuer: bool
    secret_goes_in_body: bool
    end_session_endpoint: str | None = None


def discovery_url(issuer: str) -> str:
    """Where the document of `issuer` is (OpenID Connect Discovery 1.0, 4)."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def parse_metadata(document: bytes, *, issuer: str) -> ProviderMetadata:
    """Read a discovery document. Raises ValueError, a clause, unless it is the one of `issuer`.

    The issuer must be the configured one to the letter: two providers that share a document would
    else be one (mix-up). Every endpoint must be https, or http on a loopback address if the issuer
    is. Not checked: that the endpoints are on the issuer's host, which they often are not.
    """
    members = parse_json_object(document)
    _require_issuer(members.get("issuer"), issuer)
    return ProviderMetadata(
        issuer=issuer,
        authorization_endpoint=_get_url(members, "authorization_endpoint", issuer),
        token_endpoint=_get_url(members, "token_endpoint", issuer),
        userinfo_endpoint=(
            _get_url(members, "userinfo_endpoint", issuer) if members.get("userinfo_endpoint") else None
        ),
        jwks_uri=_get_url(members, "jwks_uri", issuer),
        algorithms=_get_algorithms(members),
        sends_issuer=members.get("authorization_response_iss_parameter_supported") is True,
        secret_goes_in_body=_secret_goes_in_body(members),
        end_session_endpoint=(
            _get_url(members, "end_session_endpoint", issuer) if members.get("end_session_endpoint") else None
        ),
    )


def parse_jwks_uri(document: bytes, *, issuer: str) -> str:
    """Where an issuer publishes its keys, for one that logs nobody in and names no endpoints (GitHub's and GitLab's
    jobs, Kubernetes). Raises ValueError, a clause, unless the document is the one of `issuer`."""
    members = parse_json_object(document)
    _require_issuer(members.get("issuer"), issuer)
    return _get_url(members, "jwks_uri", issuer)


def _require_issuer(unverified: Any, issuer: str) -> None:
    if unverified == issuer:
        return
    if isinstance(unverified, str) and unverified.isascii() and unverified.isprintable():
        raise ValueError(f"is the one of {unverified[:200]}; if that is right, write it as `issuer`")
    raise ValueError("does not name its issuer")


def _get_url(members: Mapping[str, Any], name: str, issuer: str) -> str:
    url = members.get(name)
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"has no {name}")
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError(f"has an unusable {name}")
    if parts.scheme != "https" and not (_is_plain_loopback(url) and _is_plain_loopback(issuer)):
        raise ValueError(f"has a {name} that is not https")
    return url


def _is_plain_loopback(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _get_algorithms(members: Mapping[str, Any]) -> frozenset[str]:
    # RS256 is what a client may count on where the list is missing (OpenID Connect Core 1.0, 15.1).
    names = members.get("id_token_signing_alg_values_supported", ["RS256"])
    named = {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    algorithms = ALGORITHMS & named
    if not algorithms:
        raise ValueError(f"offers no signing algorithm of {', '.join(sorted(ALGORITHMS))}")
    return algorithms


def _secret_goes_in_body(members: Mapping[str, Any]) -> bool:
    methods = members.get("token_endpoint_auth_methods_supported")
    return isinstance(methods, list) and "client_secret_post" in methods and "client_secret_basic" not in methods
