"""Rules as values: one frozen class a selector. What they mean is in `authd/policy/rules.py`."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class EmailRule:
    """`email` is as `parse_email` returns it."""

    email: str


@dataclass(frozen=True, slots=True)
class EmailDomainRule:
    """`domain` is in ASCII lower case, without `@`; its subdomains are not meant."""

    domain: str


@dataclass(frozen=True, slots=True)
class EmailListRule:
    list_name: str


@dataclass(frozen=True, slots=True)
class EveryoneRule:
    pass


@dataclass(frozen=True, slots=True)
class IpRule:
    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class IpListRule:
    list_name: str


@dataclass(frozen=True, slots=True)
class GeoRule:
    """`country_code` is in upper case and one of `country_codes`."""

    country_code: str


@dataclass(frozen=True, slots=True)
class GroupRule:
    group_name: str


@dataclass(frozen=True, slots=True)
class LoginMethodRule:
    provider_id: str


@dataclass(frozen=True, slots=True)
class AuthMethodRule:
    """`auth_method` is one `amr` value of RFC 8176."""

    auth_method: str


@dataclass(frozen=True, slots=True)
class OidcRule:
    """A claim of one provider's identities. Equal means the same JSON type and the same value."""

    claim_name: str
    claim_value: str | int | bool
    provider_id: str


@dataclass(frozen=True, slots=True)
class GithubOrganizationRule:
    """Members of an organisation, or of one of its teams, of a provider of type `github`; all in lower case."""

    name: str
    provider_id: str
    team: str | None = None


@dataclass(frozen=True, slots=True)
class ExternalEvaluationRule:
    """Whoever an evaluator of the operator's says yes to, at the login. Both are addresses."""

    evaluate_url: str
    keys_url: str


@dataclass(frozen=True, slots=True)
class TokenIssuerRule:
    """Machines with a token of this issuer."""

    issuer_id: str


@dataclass(frozen=True, slots=True)
class TokenClaimRule:
    """A claim of a machine's token. Equal means the same JSON type and the same value."""

    claim_name: str
    claim_value: str | int | bool
    issuer_id: str


@dataclass(frozen=True, slots=True)
class ServiceTokenRule:
    """`client_id` is `<32 hex>.access`."""

    client_id: str


@dataclass(frozen=True, slots=True)
class AnyServiceTokenRule:
    pass


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """Whoever shows a certificate of this authority."""

    authority_id: str


@dataclass(frozen=True, slots=True)
class CommonNameRule:
    """A certificate of this authority for exactly this common name."""

    common_name: str
    authority_id: str


Rule = (
    EmailRule
    | EmailDomainRule
    | EmailListRule
    | EveryoneRule
    | IpRule
    | IpListRule
    | GeoRule
    | GroupRule
    | LoginMethodRule
    | AuthMethodRule
    | OidcRule
    | GithubOrganizationRule
    | ExternalEvaluationRule
    | TokenIssuerRule
    | TokenClaimRule
    | ServiceTokenRule
    | AnyServiceTokenRule
    | CertificateRule
    | CommonNameRule
)

MACHINE_RULES = (TokenIssuerRule, TokenClaimRule, ServiceTokenRule, AnyServiceTokenRule)
"""Rules about machines, which only `bypass` and `non_identity` policies are asked about."""

IDENTITY_RULES = (
    EmailRule,
    EmailDomainRule,
    EmailListRule,
    LoginMethodRule,
    AuthMethodRule,
    OidcRule,
    GithubOrganizationRule,
    ExternalEvaluationRule,
)
"""Rules that only somebody who has logged in can answer (access-wire 3.3, column "identity")."""
