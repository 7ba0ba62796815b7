"""From the configuration's rules to rules that can be asked, with lists and groups resolved once."""

from __future__ import annotations

from collections.abc import Mapping

from authd.config import Config, ListConfig
from authd.config import rules as written
from authd.config.schema import GroupConfig, RuleSetSection
from authd.policy import rules
from authd.policy.ranges import create_ranges
from authd.policy.rule_sets import GroupRule, RuleSet


class RuleCompiler:
    """Compiles the rules of one configuration, which has passed all checks: names exist, no cycles.

    What is equal is shared: ten thousand applications that name one group hold one compiled group.
    """

    def __init__(self, config: Config, find_country: rules.FindCountry) -> None:
        self._find_country = find_country
        self._authorities = {each.id: each.issuer_dn for each in config.client_certificate_authorities}
        self._groups: Mapping[str, GroupConfig] = {group.name: group for group in config.groups}
        self._lists: Mapping[str, ListConfig] = {entry.name: entry for entry in config.lists}
        self._groups_claims = {provider.id: provider.groups_claim_name for provider in config.identity_providers}
        self._compiled: dict[written.Rule, rules.Rule] = {}

    def compile_rule_set(self, section: RuleSetSection) -> RuleSet:
        return RuleSet(
            include=tuple(map(self._compile, section.include)),
            require=tuple(map(self._compile, section.require)),
            exclude=tuple(map(self._compile, section.exclude)),
        )

    def _compile(self, rule: written.Rule) -> rules.Rule:
        found = self._compiled.get(rule)
        if found is None:
            found = self._compiled[rule] = self._create(rule)
        return found

    def _create(self, rule: written.Rule) -> rules.Rule:
        match rule:
            case written.EmailRule(email):
                return rules.EmailRule(email)
            case written.EmailDomainRule(domain):
                return rules.EmailDomainRule(domain)
            case written.EmailListRule(name):
                return rules.EmailListRule(name, self._lists[name].emails)
            case written.EveryoneRule():
                return rules.EveryoneRule()
            case written.IpRule(network):
                return rules.create_ip_rule(network)
            case written.IpListRule(name):
                return self._create_ip_list(name)
            case written.GeoRule(country_code):
                return rules.GeoRule(country_code, self._find_country)
            case written.GroupRule(name):
                return GroupRule(name, self.compile_rule_set(self._groups[name]))
            case written.LoginMethodRule(provider_id):
                return rules.LoginMethodRule(provider_id)
            case written.AuthMethodRule(auth_method):
                return rules.AuthMethodRule(auth_method)
            case written.OidcRule(name, value, provider_id):
                is_groups = name == self._groups_claims.get(provider_id, "groups")
                return rules.OidcRule(name, value, provider_id, is_groups)
            case written.GithubOrganizationRule(name, provider_id, team):
                return rules.GithubOrganizationRule(f"{name}/{team}" if team else name, provider_id)
            case written.ExternalEvaluationRule(evaluate_url, keys_url):
                return rules.ExternalEvaluationRule(evaluate_url, keys_url)
            case written.ServiceTokenRule(client_id):
                return rules.ServiceTokenRule(client_id)
            case written.AnyServiceTokenRule():
                return rules.ServiceTokenRule(None)
            case written.CertificateRule(authority_id):
                return rules.CertificateRule(authority_id, self._authorities[authority_id], None)
            case written.CommonNameRule(common_name, authority_id):
                return rules.CertificateRule(authority_id, self._authorities[authority_id], common_name)
            case written.TokenIssuerRule(issuer_id):
                return rules.TokenIssuerRule(issuer_id)
            case written.TokenClaimRule(name, value, issuer_id):
                return rules.TokenClaimRule(name, value, issuer_id)

    def _create_ip_list(self, name: str) -> rules.IpListRule:
        networks = self._lists[name].networks
        return rules.IpListRule(
            name,
            ipv4=create_ranges(network for network in networks if network.version == 4),
            ipv6=create_ranges(network for network in networks if network.version == 6),
        )
