"""The words that every part of authd shares. Frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from authd.frozen import quick_init


class Outcome(StrEnum):
    """What becomes of a request. Only ALLOW and BYPASS ever turn into a 200."""

    ALLOW = "allow"
    BYPASS = "bypass"
    LOGIN = "login"
    DENY = "deny"


class Reason(StrEnum):
    """Why. A closed list: it stands in logs, metrics, pages and docs/reasons.md."""

    # the request passes
    POLICY_ALLOW = "policy_allow"
    POLICY_BYPASS = "policy_bypass"
    PREFLIGHT_BYPASS = "preflight_bypass"
    # somebody has to log in (401)
    NO_CREDENTIAL = "no_credential"
    TOKEN_MALFORMED = "token_malformed"
    TOKEN_SIGNATURE = "token_signature"
    TOKEN_KEY_UNKNOWN = "token_key_unknown"
    TOKEN_ISSUER = "token_issuer"
    TOKEN_AUDIENCE = "token_audience"
    TOKEN_TYPE = "token_type"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    SESSION_UNKNOWN = "session_unknown"
    SESSION_ENDED = "session_ended"
    SESSION_IDLE = "session_idle"
    SERVICE_TOKEN_MALFORMED = "service_token_malformed"
    SERVICE_TOKEN_INVALID = "service_token_invalid"
    SERVICE_TOKEN_EXPIRED = "service_token_expired"
    SERVICE_TOKEN_DISABLED = "service_token_disabled"
    SERVICE_TOKEN_LIMITED = "service_token_limited"
    EVALUATION_MISSING = "evaluation_missing"
    PROVIDER_NOT_ALLOWED = "provider_not_allowed"
    # refused (403)
    POLICY_DENY = "policy_deny"
    NO_POLICY_MATCHED = "no_policy_matched"
    APPLICATION_UNKNOWN = "application_unknown"
    APPLICATION_MISMATCH = "application_mismatch"
    AMBIGUOUS_URL = "ambiguous_url"
    MALFORMED_REQUEST = "malformed_request"
    CONFLICTING_SESSIONS = "conflicting_sessions"


@quick_init
@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as one identity provider said at login.

    `subject` is a UUID derived from the provider's issuer and its subject: an address can change
    hands, (issuer, subject) cannot. `email` is in ASCII lower case with an IDNA domain, and None
    unless the provider says that it is verified (or is configured to be believed);
    `unverified_email` is for pages and logs only and never decides anything.
    `claims` holds only what the provider's `claims` setting names. Where `groups_are_complete` is not true, there may
    be groups that nobody could tell us: no rule can say then that somebody is not in one. `tenant` is whose person this
    is, at a provider of several tenants that are named one by one; "" at any other.
    `authenticated_at` is in Unix seconds. `evaluations` holds what outside evaluators said of the person, by
    `evaluation_key`: yes or no, and when (Unix seconds); one that could not say is missing.
    """

    subject: str
    provider_id: str
    provider_subject: str
    email: str | None
    unverified_email: str | None
    name: str | None
    groups: tuple[str, ...]
    auth_methods: tuple[str, ...]
    claims: Mapping[str, Any] = field(default_factory=dict)
    authenticated_at: int = 0
    evaluations: Mapping[str, tuple[bool, int]] = field(default_factory=dict)
    groups_are_complete: bool = True
    tenant: str = ""

    @property
    def source(self) -> str:
        """What an application allows or not: the provider, or one tenant of it."""
        return render_source(self.provider_id, self.tenant) if self.tenant else self.provider_id

    @property
    def account(self) -> str:
        """How a page or a log line names this person."""
        return self.email or self.unverified_email or self.name or self.provider_subject


def render_source(provider_id: str, tenant: str) -> str:
    """A tenant of a provider. With a space, it is no provider's id."""
    return f"{provider_id} {tenant}"


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """A verified word of a provider: this session of its (`session_id`), or all of this person (`subject`), has ended.

    `id` is spent once; `subject` (ours, as in `Identity`) or `session_id` may be empty, not both.
    """

    id: str
    subject: str
    session_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an identity provider said at a login: who it is, and what lets us ask again, or log out there.

    `session_id` is the provider's own (`sid`), empty if it names none. The two tokens are secrets of this login.
    `is_partial`: the groups could not be had just now, and asking again soon is worth it.
    """

    identity: Identity
    session_id: str = ""
    refresh_token: str | None = field(default=None, repr=False)
    id_token: str | None = field(default=None, repr=False)
    is_partial: bool = False


SERVICE_TOKENS = "service tokens"
CERTIFICATES = "client certificates"
"""Issuers of machines that authd itself knows. With a space, no configured issuer can have such an id."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, as a token of another issuer names it. It never logs in, and no rule about people is about it.

    `issuer_id` is the id under `token_issuers`, or the issuer of an application that only verifies. `name` and `groups`
    are what the application is told; `claims` are those that rules may look at.
    """

    issuer_id: str
    name: str
    groups: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """What is kept of a service token: everything but its secret. Times are Unix seconds.

    `previous_mac` is that of the secret before the last rotation, good until `previous_until`.
    """

    client_id: str
    name: str
    mac: bytes
    created_at: int
    expires_at: int
    is_enabled: bool = True
    previous_mac: bytes = b""
    previous_until: int = 0


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate that nginx has verified, as it prints it: names in RFC 4514's form. `common_name` is empty unless
    there is exactly one."""

    issuer: str
    common_name: str
    fingerprint: str


@quick_init
@dataclass(frozen=True, slots=True)
class Facts:
    """All that a policy may look at: the connection as nginx tells it, and who asks.

    `identity` is None for somebody who has not logged in; `machine` is there for a machine, which has no identity.

    `client_ip` was parsed before any policy is asked (an address that cannot be parsed refuses the
    request: a rule that silently does not match would let an `exclude` or a `deny` lapse), and an
    IPv4-mapped IPv6 address has become IPv4. `country` is the code that a trusted edge named, "" where none did: then
    rules on countries look the address up.
    """

    client_ip: IPv4Address | IPv6Address
    identity: Identity | None = None
    country: str = ""
    machine: Machine | None = None
    certificate: ClientCertificate | None = None

    def about(self, identity: Identity | None, machine: Machine | None = None) -> Facts:
        """The same facts, about this person or machine. On the hot path: `replace` costs four times as much."""
        return Facts(self.client_ip, identity, self.country, machine, self.certificate)


@quick_init
@dataclass(frozen=True, slots=True)
class Decision:
    """The answer about one request, with its reason. A denial is a value, not an exception.

    `session_seconds` is how long a token may live that the policy admitted.
    """

    outcome: Outcome
    reason: Reason
    application_id: str | None = None
    policy_id: str | None = None
    policy_name: str | None = None
    rule: str | None = None
    session_seconds: int = 0


@quick_init
@dataclass(frozen=True, slots=True)
class Session:
    """One login of one person. `id` is the `identity_nonce` of every token that rests on it.

    Times are Unix seconds. `expires_at` ends the session on the team host: from then on it gives no
    new token. Tokens that an application was given may live until `tokens_until`, where that is later
    (reference/access-wire.md 4.1). `left` holds, by AUD tag, when the person logged out of one
    application: tokens of before have ended. `provider_session` is the provider's `sid`, and `refresh_at`
    is when the provider is asked again who this is, 0 for never. `client_ip` and `user_agent` are those
    of the login, for the person's own list of sessions; they decide nothing.
    """

    id: str
    identity: Identity
    created_at: int
    expires_at: int
    client_ip: str
    user_agent: str
    country: str = ""
    tokens_until: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    provider_session: str = ""
    refresh_at: int = 0

    @property
    def ends_at(self) -> int:
        """From when on nothing rests on the session any more."""
        return max(self.expires_at, self.tokens_until)


class Ends(NamedTuple):
    """When a session last left an application, and when all tokens of that application were last revoked; 0 for never.

    Unix seconds by whoever did it, but each is larger than the one before, so that they can be compared without clocks.
    """

    left: int = 0
    revoked: int = 0


NO_ENDS = Ends()
