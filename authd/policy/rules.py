"""What each rule asks, ready to be asked on every request: nothing is parsed or compiled here.

A rule answers True, False or None. None means "cannot say": before somebody has logged in, and for
rules on addresses also afterwards when the provider gave no address that may be believed. Whoever
combines the answers must treat None so that it never lets anybody in (docs/adr/0011).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from authd.config.selectors import Network
from authd.model import Facts

Answer = bool | None


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
class AddressRanges:
    """Ranges of one IP version that do not touch, in order, as numbers. Both ends belong to them."""

    firsts: tuple[int, ...]
    lasts: tuple[int, ...]

    def holds(self, address: int) -> bool:
        position = bisect_right(self.firsts, address) - 1
        return position >= 0 and address <= self.lasts[position]


def create_ranges(networks: Iterable[Network]) -> AddressRanges:
    """Networks of one IP version, merged."""
    merged: list[list[int]] = []
    for first, last in sorted((int(network[0]), int(network[-1])) for network in networks):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return AddressRanges(tuple(first for first, _ in merged), tuple(last for _, last in merged))


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
        return f"oidc: {self.claim_name} = {self.claim_value} ({self.provider_id})"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        identity = facts.identity
        if identity is None:
            return None
        # Another provider's claim of the same name is worth nothing: anybody can run a provider.
        if identity.provider_id != self.provider_id:
            return False
        if self.is_groups:
            return self.claim_value in identity.groups
        return _holds(identity.claims.get(self.claim_name), self.claim_value)


def _holds(claim: Any, wanted: str | int | bool) -> bool:
    """Equality of JSON values: `1` is not `true`, `"true"` is neither."""
    if isinstance(claim, (list, tuple)):
        return any(type(part) is type(wanted) and part == wanted for part in claim)
    return type(claim) is type(wanted) and bool(claim == wanted)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Matches if any of `include`, all of `require` and none of `exclude` match."""

    include: tuple[Rule, ...]
    require: tuple[Rule, ...]
    exclude: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class GroupRule:
    name: str
    rules: RuleSet

    @property
    def text(self) -> str:
        return f"group: {self.name}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        return evaluate(self.rules, facts, trace)


def evaluate(rules: RuleSet, facts: Facts, trace: list[Step] | None = None) -> Answer:
    """Kleene's logic: False as soon as one part is, None if a part that counts cannot say.

    Only what is needed for the answer is looked at, so that a trace shows why, and no more.
    """
    included = _any(rules.include, "include", facts, trace)
    if included is False:
        return False
    required = _all(rules.require, "require", facts, trace)
    if required is False:
        return False
    excluded = _any(rules.exclude, "exclude", facts, trace)
    if excluded is True:
        return False
    return None if included is None or required is None or excluded is None else True


def find_deciding_rule(rules: RuleSet, facts: Facts) -> str | None:
    """`include[1] group: engineers`: the first rule that includes somebody, or may."""
    for position, rule in enumerate(rules.include):
        if rule.answer(facts, None) is not False:
            return f"include[{position}] {rule.text}"
    return None


def _any(rules: tuple[Rule, ...], section: str, facts: Facts, trace: list[Step] | None) -> Answer:
    answer: Answer = False
    for position, rule in enumerate(rules):
        said = rule.answer(facts, None) if trace is None else _ask(rule, section, position, facts, trace)
        if said is True:
            return True
        if said is None:
            answer = None
    return answer


def _all(rules: tuple[Rule, ...], section: str, facts: Facts, trace: list[Step] | None) -> Answer:
    answer: Answer = True
    for position, rule in enumerate(rules):
        said = rule.answer(facts, None) if trace is None else _ask(rule, section, position, facts, trace)
        if said is False:
            return False
        if said is None:
            answer = None
    return answer


def _ask(rule: Rule, section: str, position: int, facts: Facts, trace: list[Step]) -> Answer:
    inner: list[Step] = []
    answer = rule.answer(facts, inner)
    trace.append(Step(f"{section}[{position}]", rule.text, answer, tuple(inner)))
    return answer
