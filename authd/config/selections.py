"""Settings that contradict each other: what a decision may look at, and what the chooser offers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from authd.config.mistakes import Path, PlacedMistake
from authd.config.references import walk_rule_sets, walk_rules
from authd.config.rules import IDENTITY_RULES, MACHINE_RULES, GeoRule, GroupRule, Rule
from authd.config.schema import Config, GroupConfig, PolicyConfig
from authd.config.selectors import find_selector_key


def check_selections(config: Config) -> Iterator[PlacedMistake]:
    """Identity rules where nobody has logged in, and a chooser that cannot be skipped."""
    with_identity = _find_identity_groups(config.groups)
    for position, application in enumerate(config.applications):
        for at, policy in enumerate(application.policies):
            path: Path = ("applications", position, "policies", at)
            if policy.decision in ("bypass", "non_identity"):
                yield from _check_before_login(path, policy, with_identity)
            if policy.decision != "non_identity":
                yield from _check_machines(path, policy)
        offered = len(application.allowed_idps) or len(config.identity_providers)
        if application.auto_redirect_to_identity and offered != 1:
            path = ("applications", position, "auto_redirect_to_identity")
            message = f"needs exactly one allowed identity provider, and there are {offered}"
            yield PlacedMistake(path, message, "true", "allowed_idps with one id")


def check_countries(config: Config) -> Iterator[PlacedMistake]:
    """Rules on countries that nothing could answer: they would let nobody in, and nobody would know why."""
    if config.geo_database or config.country_header:
        return
    for path, rules in walk_rule_sets(config):
        for place, rule in walk_rules(rules):
            if isinstance(rule, GeoRule):
                message = "needs to know countries: set geo_database or country_header"
                yield PlacedMistake((*path, *place, "geo"), message, rule.country_code, "")


def _check_machines(path: Path, policy: PolicyConfig) -> Iterator[PlacedMistake]:
    """No machine ever logs in, so such a rule would let nobody in, and a person would be sent to the login in vain."""
    for place, rule in walk_rules(policy):
        if isinstance(rule, MACHINE_RULES):
            key = find_selector_key(rule)
            message = f"is about machines, for which {policy.decision} policies do not count"
            yield PlacedMistake((*path, *place, key), message, key, "a policy with decision: non_identity")


def _check_before_login(path: Path, policy: PolicyConfig, with_identity: set[str]) -> Iterator[PlacedMistake]:
    """Cloudflare: a bypass "cannot contain identity selectors" (access-wire 3.1)."""
    for place, rule in walk_rules(policy):
        if _needs_identity(rule, with_identity):
            key = find_selector_key(rule)
            message = f"looks at who somebody is, which a {policy.decision} policy is decided without"
            yield PlacedMistake((*path, *place, key), message, key, "everyone, ip, ip_list, geo, groups of these")


def _needs_identity(rule: Rule, with_identity: set[str]) -> bool:
    if isinstance(rule, GroupRule):
        return rule.group_name in with_identity
    return isinstance(rule, IDENTITY_RULES)


def _find_identity_groups(groups: Iterable[GroupConfig]) -> set[str]:
    """Names of the groups that hold an identity rule, themselves or through other groups."""
    users: dict[str, list[str]] = {}
    found: set[str] = set()
    for group in groups:
        for _, rule in walk_rules(group):
            if isinstance(rule, GroupRule):
                users.setdefault(rule.group_name, []).append(group.name)
            elif isinstance(rule, IDENTITY_RULES):
                found.add(group.name)
    waiting = list(found)
    while waiting:
        using = [name for name in users.get(waiting.pop(), ()) if name not in found]
        found.update(using)
        waiting += using
    return found
