"""Names that one part of the file uses and another must declare: groups, lists, providers, claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authd.config.mistakes import Path, PlacedMistake, render_allowed
from authd.config.rules import (
    CertificateRule,
    CommonNameRule,
    EmailListRule,
    GithubOrganizationRule,
    GroupRule,
    IpListRule,
    LoginMethodRule,
    OidcRule,
    Rule,
    TokenClaimRule,
    TokenIssuerRule,
)
from authd.config.schema import Config, IdentityProviderConfig, RuleSetSection

RULE_LISTS = ("include", "require", "exclude")


@dataclass(frozen=True, slots=True)
class _Names:
    groups: frozenset[str]
    email_lists: frozenset[str]
    ip_lists: frozenset[str]
    providers: frozenset[str]
    authorities: frozenset[str]
    provider_types: Mapping[str, str]
    token_issuers: frozenset[str]
    provider_settings: Mapping[str, IdentityProviderConfig]


def check_references(config: Config, raw: dict[str, Any]) -> Iterator[PlacedMistake]:
    """Every name that is used and not declared, and every cycle of groups."""
    names = _collect_names(config, raw)
    for path, rules in walk_rule_sets(config):
        yield from _check_rules(path, rules, names)
    for position, application in enumerate(config.applications):
        for at, provider_id in enumerate(application.allowed_idps):
            if provider_id not in names.providers:
                path = ("applications", position, "allowed_idps", at)
                yield _unknown(path, "identity provider", provider_id, names.providers)
    yield from _check_cycles(config)


def walk_rule_sets(config: Config) -> Iterator[tuple[Path, RuleSetSection]]:
    """Every group and every policy with its place."""
    for position, group in enumerate(config.groups):
        yield ("groups", position), group
    for position, application in enumerate(config.applications):
        for at, policy in enumerate(application.policies):
            yield ("applications", position, "policies", at), policy


def walk_rules(rules: RuleSetSection) -> Iterator[tuple[Path, Rule]]:
    """Every rule with its place inside its group or policy."""
    for section in RULE_LISTS:
        for position, rule in enumerate(getattr(rules, section)):
            yield (section, position), rule


def _collect_names(config: Config, raw: dict[str, Any]) -> _Names:
    return _Names(
        groups=_declared(raw, "groups", "name"),
        email_lists=_declared(raw, "lists", "name", type="email"),
        ip_lists=_declared(raw, "lists", "name", type="ip"),
        # Who comes through another edge comes from its issuer.
        providers=_declared(raw, "identity_providers", "id") | _declared(raw, "applications", "issuer"),
        provider_types={provider.id: provider.type for provider in config.identity_providers},
        authorities=_declared(raw, "client_certificate_authorities", "id"),
        token_issuers=_declared(raw, "token_issuers", "id") | _declared(raw, "applications", "issuer"),
        provider_settings={provider.id: provider for provider in config.identity_providers},
    )


def _declared(raw: dict[str, Any], section: str, key: str, **wanted: str) -> frozenset[str]:
    entries = raw.get(section)
    return frozenset(
        entry[key]
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        and isinstance(entry.get(key), str)
        # A list whose type is wrong counts as both: its own mistake is reported already.
        and all(
            entry.get(name) in (value, None) or entry[name] not in ("email", "ip") for name, value in wanted.items()
        )
    )


def _check_rules(path: Path, rules: RuleSetSection, names: _Names) -> Iterator[PlacedMistake]:
    for place, rule in walk_rules(rules):
        match rule:
            case GroupRule(name) if name not in names.groups:
                yield _unknown((*path, *place, "group"), "group", name, names.groups)
            case EmailListRule(name) if name not in names.email_lists:
                yield _unknown((*path, *place, "email_list"), "list of type email", name, names.email_lists)
            case IpListRule(name) if name not in names.ip_lists:
                yield _unknown((*path, *place, "ip_list"), "list of type ip", name, names.ip_lists)
            case LoginMethodRule(name) if name not in names.providers:
                yield _unknown((*path, *place, "login_method"), "identity provider", name, names.providers)
            case TokenIssuerRule(name) if name not in names.token_issuers:
                yield _unknown((*path, *place, "token_issuer"), "token issuer", name, names.token_issuers)
            case TokenClaimRule(_, _, name) if name not in names.token_issuers:
                path_of_id = (*path, *place, "token_claim", "token_issuer_id")
                yield _unknown(path_of_id, "token issuer", name, names.token_issuers)
            case GithubOrganizationRule(_, name) if names.provider_types.get(name, "github") != "github":
                key = (*path, *place, "github-organization", "identity_provider_id")
                yield PlacedMistake(key, "is no provider of type github", name, "the id of one")
            case GithubOrganizationRule(_, name) if name not in names.providers:
                key = (*path, *place, "github-organization", "identity_provider_id")
                yield _unknown(key, "identity provider", name, names.providers)
            case CertificateRule(name) if name not in names.authorities:
                yield _unknown((*path, *place, "certificate"), "certificate authority", name, names.authorities)
            case CommonNameRule(_, name) if name not in names.authorities:
                key = (*path, *place, "common_name", "authority_id")
                yield _unknown(key, "certificate authority", name, names.authorities)
            case OidcRule():
                yield from _check_claim((*path, *place, "oidc"), rule, names)


def _check_claim(path: Path, rule: OidcRule, names: _Names) -> Iterator[PlacedMistake]:
    if rule.provider_id not in names.providers:
        yield _unknown((*path, "identity_provider_id"), "identity provider", rule.provider_id, names.providers)
    provider = names.provider_settings.get(rule.provider_id)
    if provider is None or rule.claim_name in provider.kept_claims:
        return
    # Without this the rule would silently never match: only named claims are kept.
    hint = f"; add it to the claims of identity provider {provider.id}" if provider.kept_claims else ""
    message = f"is a claim that is not kept{hint}"
    allowed = (
        render_allowed(provider.kept_claims, rule.claim_name)
        or f"none: providers of type {provider.type} have no claims"
    )
    yield PlacedMistake((*path, "claim_name"), message, rule.claim_name, allowed)


def _unknown(path: Path, what: str, name: str, known: frozenset[str]) -> PlacedMistake:
    return PlacedMistake(path, f"unknown {what}", name, render_allowed(sorted(known), name) or "none is declared")


def _check_cycles(config: Config) -> Iterator[PlacedMistake]:
    """Each cycle, at the group of it that stands first in the file."""
    uses: dict[str, list[str]] = {}
    places: dict[str, int] = {}
    for position, group in enumerate(config.groups):
        used = [rule.group_name for _, rule in walk_rules(group) if isinstance(rule, GroupRule)]
        # Of two groups of one name, which is a mistake of its own, the first counts.
        uses.setdefault(group.name, list(dict.fromkeys(used)))
        places.setdefault(group.name, position)
    for cycle in _walk_cycles(uses):
        path = ("groups", min(places[name] for name in cycle))
        yield PlacedMistake(path, "uses itself", " -> ".join(cycle), "groups without a cycle")


def _walk_cycles(uses: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Depth first, each group once. Not recursive: a chain may be longer than Python's stack."""
    done: set[str] = set()
    for start in uses:
        if start not in done:
            yield from _walk_cycles_from(start, uses, done)


def _walk_cycles_from(start: str, uses: Mapping[str, list[str]], done: set[str]) -> Iterator[list[str]]:
    branches = {start: iter(uses[start])}
    while branches:
        name, branch = next(reversed(branches.items()))
        following = next(branch, None)
        if following is None:
            del branches[name]
            done.add(name)
        elif following in branches:
            way = list(branches)
            yield [*way[way.index(following) :], following]
        elif following in uses and following not in done:
            branches[following] = iter(uses[following])
