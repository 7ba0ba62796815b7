"""What each rule asks, ready to be asked on every request: nothing is parsed or compiled here.

A rule answers True, False or None. None means "cannot say": before somebody has logged in, and also
afterwards for rules on addresses when the provider gave no address that may be believed, and for rules on groups when
it did not say which they are. Whoever
combines the answers must treat None so that it never lets anybody in (docs/adr/0011).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from authd.config.fields import Network
from authd.countries import TOR, Address
from authd.model import SERVICE_TOKENS, Facts, Identity
from authd.policy.ranges import AddressRanges

Answer = bool | None
FindCountry = Callable[[Address], str]


@dataclass(frozen=True, slots=True)
class Step:
    """What was looked at, and what it said. `steps` are the rules inside, of a policy or a group."""

    place: str
    text: str
    answer: Answer
    steps: tuple[Step, ...] = ()


class Rule(Protocol):
    """One rule. `text` is its short form, as in the configuration."""

    @property
    def text(self) -> str: ...

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        """What the rule says about somebody; a group appends the steps of its own rules to `trace`."""


@dataclass(frozen=True, slots=True)
class EveryoneRule:
    text: str = "everyone"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        return True


@dataclass(frozen=True, slots=True)
class EmailRule:
    email: str

    @property
    def text(self) -> str:
        return f"email: {self.email}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        if identity is None or identity.email is None:
            return None
        return identity.email == self.email


@dataclass(frozen=True, slots=True)
class EmailDomainRule:
    domain: str

    @property
    def text(self) -> str:
        return f"email_domain: {self.domain}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        if identity is None or identity.email is None:
            return None
        # From the first @: should an address with two ever get here, it belongs to no domain.
        return identity.email.partition("@")[2] == self.domain


@dataclass(frozen=True, slots=True)
class EmailListRule:
    name: str
    emails: frozenset[str]

    @property
    def text(self) -> str:
        return f"email_list: {self.name}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        if identity is None or identity.email is None:
            return None
        return identity.email in self.emails


@dataclass(frozen=True, slots=True)
class IpRule:
    network: Network
    version: int
    first: int
    last: int

    @property
    def text(self) -> str:
        return f"ip: {self.network}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        address = facts.client_ip
        return address.version == self.version and self.first <= int(address) <= self.last


def create_ip_rule(network: Network) -> IpRule:
    """The network's bounds as numbers: `address in network` costs ten times as much."""
    return IpRule(network, network.version, int(network[0]), int(network[-1]))


@dataclass(frozen=True, slots=True)
class IpListRule:
    name: str
    ipv4: AddressRanges
    ipv6: AddressRanges

    @property
    def text(self) -> str:
        return f"ip_list: {self.name}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        address = facts.client_ip
        ranges = self.ipv4 if address.version == 4 else self.ipv6
        return ranges.holds(int(address))


@dataclass(frozen=True, slots=True)
class GeoRule:
    """`find_country` looks an address up; what a trusted edge says goes before it."""

    country_code: str
    find_country: FindCountry

    @property
    def text(self) -> str:
        return f"geo: {self.country_code}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        country = facts.country or self.find_country(facts.client_ip)
        # Nobody knows where somebody is whom no database knows, or who comes through Tor: neither "from there", which
        # might let them in, nor "not from there", which might spare them an exclusion.
        if country == self.country_code or country not in ("", TOR):
            return country == self.country_code
        return None


@dataclass(frozen=True, slots=True)
class LoginMethodRule:
    provider_id: str

    @property
    def text(self) -> str:
        return f"login_method: {self.provider_id}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        return None if identity is None else identity.provider_id == self.provider_id


@dataclass(frozen=True, slots=True)
class AuthMethodRule:
    auth_method: str

    @property
    def text(self) -> str:
        return f"auth_method: {self.auth_method}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        return None if identity is None else self.auth_method in identity.auth_methods


@dataclass(frozen=True, slots=True)
class OidcRule:
    """`is_groups` where the claim is the one that the provider's `groups_claim` names."""

    claim_name: str
    claim_value: str | int | bool
    provider_id: str
    is_groups: bool

    @property
    def text(self) -> str:
        value = self.claim_value if isinstance(self.claim_value, str) else json.dumps(self.claim_value)
        return f"oidc: {self.claim_name} = {value} ({self.provider_id})"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        if identity is None:
            return None
        # Another provider's claim of the same name is worth nothing: anybody can run a provider.
        if identity.provider_id != self.provider_id:
            return False
        if self.is_groups:
            return _is_in_group(identity, self.claim_value)
        return _holds(identity.claims.get(self.claim_name), self.claim_value)


@dataclass(frozen=True, slots=True)
class GithubOrganizationRule:
    """`group` is how the provider's module writes it: `organisation` or `organisation/team`, in lower case."""

    group: str
    provider_id: str

    @property
    def text(self) -> str:
        return f"github-organization: {self.group} ({self.provider_id})"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        if identity is None:
            return None
        return identity.provider_id == self.provider_id and _is_in_group(identity, self.group)


@dataclass(frozen=True, slots=True)
class ExternalEvaluationRule:
    """What was said at the login; None where nobody could say, which lets nobody in and spares nobody a denial."""

    evaluate_url: str
    keys_url: str

    @property
    def text(self) -> str:
        return f"external_evaluation: {self.evaluate_url}"

    @property
    def key(self) -> str:
        """By the keys, too: another evaluator may come to answer at the same address."""
        return f"{self.evaluate_url} {self.keys_url}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        if facts.identity is None:
            return None
        said = facts.identity.evaluations.get(self.key)
        return None if said is None else said[0]


@dataclass(frozen=True, slots=True)
class TokenIssuerRule:
    issuer_id: str

    @property
    def text(self) -> str:
        return f"token_issuer: {self.issuer_id}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        return facts.machine is not None and facts.machine.issuer_id == self.issuer_id


@dataclass(frozen=True, slots=True)
class TokenClaimRule:
    claim_name: str
    claim_value: str | int | bool
    issuer_id: str

    @property
    def text(self) -> str:
        value = self.claim_value if isinstance(self.claim_value, str) else json.dumps(self.claim_value)
        return f"token_claim: {self.claim_name} = {value} ({self.issuer_id})"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        machine = facts.machine
        # Another issuer's claim of the same name is worth nothing.
        if machine is None or machine.issuer_id != self.issuer_id:
            return False
        return _holds(machine.claims.get(self.claim_name), self.claim_value)


@dataclass(frozen=True, slots=True)
class ServiceTokenRule:
    """`client_id` is None for any service token. A machine of this kind was verified before any policy is asked."""

    client_id: str | None

    @property
    def text(self) -> str:
        return f"service_token: {self.client_id}" if self.client_id else "any_valid_service_token"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        machine = facts.machine
        if machine is None or machine.issuer_id != SERVICE_TOKENS:
            return False
        return self.client_id is None or machine.name == self.client_id


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """`issuer` is the authority's name. `common_name` is None for any certificate of it."""

    authority_id: str
    issuer: str
    common_name: str | None

    @property
    def text(self) -> str:
        if self.common_name is None:
            return f"certificate: {self.authority_id}"
        return f"common_name: {self.common_name} ({self.authority_id})"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        certificate = facts.certificate
        # The issuer too: a server that trusts two authorities, one of them the edge's, would else admit both.
        if certificate is None or certificate.issuer != self.issuer:
            return False
        return self.common_name is None or certificate.common_name == self.common_name


def _is_in_group(identity: Identity, group: str | int | bool) -> Answer:
    # Of somebody with more groups than we were told, nobody can say that this is not among them.
    return True if group in identity.groups else (False if identity.groups_are_complete else None)


def _holds(claim: Any, wanted: str | int | bool) -> bool:
    """Equality of JSON values: `1` is not `true`, `"true"` is neither."""
    if isinstance(claim, (list, tuple)):
        return any(type(part) is type(wanted) and part == wanted for part in claim)
    return type(claim) is type(wanted) and bool(claim == wanted)
