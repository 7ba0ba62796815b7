"""Rules: the API's shape and the short form mean the same; everything else is a mistake."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from authd.config.mistakes import SettingError, SettingsError
from authd.config.rules import (
    AnyServiceTokenRule,
    AuthMethodRule,
    CertificateRule,
    CommonNameRule,
    EmailDomainRule,
    EmailListRule,
    EmailRule,
    EveryoneRule,
    ExternalEvaluationRule,
    GeoRule,
    GithubOrganizationRule,
    GroupRule,
    IpListRule,
    IpRule,
    LoginMethodRule,
    OidcRule,
    Rule,
    ServiceTokenRule,
    TokenClaimRule,
    TokenIssuerRule,
)
from authd.config.selectors import NOT_BUILT_SELECTORS, SELECTORS, find_selector_key, parse_rule

_OIDC = {"claim_name": "department", "claim_value": "sales", "identity_provider_id": "corp"}

_CLIENT_ID = "0123456789abcdef" * 2 + ".access"
_EVALUATION = {"evaluate_url": "https://e.example/evaluate", "keys_url": "https://e.example/keys"}
_TEAM = {"name": "Octo", "team": "core", "identity_provider_id": "hub"}
_NAME = {"common_name": "probe-1", "authority_id": "devices"}
_CLAIM = {"claim_name": "ref", "claim_value": "refs/heads/main", "token_issuer_id": "github"}


@pytest.mark.parametrize(
    ("long_form", "short_form", "rule"),
    [
        ({"email": {"email": "A@B.c"}}, {"email": "A@B.c"}, EmailRule("a@b.c")),
        ({"email_domain": {"domain": "@B.c"}}, {"email_domain": "b.c"}, EmailDomainRule("b.c")),
        ({"email_list": {"id": "staff"}}, {"email_list": "staff"}, EmailListRule("staff")),
        ({"everyone": {}}, {"everyone": True}, EveryoneRule()),
        ({"everyone": {}}, {"everyone": None}, EveryoneRule()),
        ({"ip": {"ip": "10.0.0.0/8"}}, {"ip": "10.0.0.0/8"}, IpRule(IPv4Network("10.0.0.0/8"))),
        ({"ip": {"ip": "10.0.0.1"}}, {"ip": "10.0.0.1/32"}, IpRule(IPv4Network("10.0.0.1/32"))),
        ({"ip": {"ip": "2001:DB8::/32"}}, {"ip": "2001:db8::/32"}, IpRule(IPv6Network("2001:db8::/32"))),
        ({"ip": {"ip": "::ffff:10.0.0.0/104"}}, {"ip": "10.0.0.0/8"}, IpRule(IPv4Network("10.0.0.0/8"))),
        ({"ip_list": {"id": "office"}}, {"ip_list": "office"}, IpListRule("office")),
        ({"geo": {"country_code": "de"}}, {"geo": "DE"}, GeoRule("DE")),
        ({"group": {"id": "engineers"}}, {"group": "engineers"}, GroupRule("engineers")),
        ({"login_method": {"id": "corp"}}, {"login_method": "corp"}, LoginMethodRule("corp")),
        ({"auth_method": {"auth_method": "mfa"}}, {"auth_method": "mfa"}, AuthMethodRule("mfa")),
        ({"oidc": _OIDC}, {"oidc": _OIDC}, OidcRule("department", "sales", "corp")),
        ({"token_issuer": {"id": "github"}}, {"token_issuer": "github"}, TokenIssuerRule("github")),
        ({"github-organization": _TEAM}, {"github-organization": _TEAM}, GithubOrganizationRule("octo", "hub", "core")),
        (
            {"external_evaluation": _EVALUATION},
            {"external_evaluation": _EVALUATION},
            ExternalEvaluationRule("https://e.example/evaluate", "https://e.example/keys"),
        ),
        ({"service_token": {"token_id": _CLIENT_ID}}, {"service_token": _CLIENT_ID}, ServiceTokenRule(_CLIENT_ID)),
        ({"any_valid_service_token": {}}, {"any_valid_service_token": True}, AnyServiceTokenRule()),
        ({"certificate": {"authority_id": "devices"}}, {"certificate": "devices"}, CertificateRule("devices")),
        ({"common_name": _NAME}, {"common_name": _NAME}, CommonNameRule("probe-1", "devices")),
        ({"token_claim": _CLAIM}, {"token_claim": _CLAIM}, TokenClaimRule("ref", "refs/heads/main", "github")),
    ],
)
def test_both_forms_are_the_same_rule(long_form: Any, short_form: Any, rule: Rule) -> None:
    assert parse_rule(long_form) == parse_rule(short_form) == rule


def test_every_selector_is_tried_above_and_knows_its_own_key() -> None:
    rules = [parse_rule(_example(key)) for key in SELECTORS]
    assert [find_selector_key(rule) for rule in rules] == list(SELECTORS)


def _example(key: str) -> dict[str, Any]:
    values = {"email": "a@b.c", "email_domain": "b.c", "ip": "10.0.0.1", "everyone": {}, "geo": "DE", "oidc": _OIDC}
    values |= {"token_claim": _CLAIM, "service_token": _CLIENT_ID, "any_valid_service_token": {}, "common_name": _NAME}
    values |= {"github-organization": _TEAM, "external_evaluation": _EVALUATION}
    return {key: values.get(key, "name")}


def mistakes_of(raw: Any) -> list[SettingError]:
    with pytest.raises((SettingError, SettingsError)) as caught:
        parse_rule(raw)
    error = caught.value
    return list(error.mistakes) if isinstance(error, SettingsError) else [error]


@pytest.mark.parametrize("raw", ["everyone", None, 5, True, [], {}, ["everyone"], [{"everyone": True}]])
def test_what_is_no_mapping_is_no_rule(raw: Any) -> None:
    (mistake,) = mistakes_of(raw)
    assert mistake.message == "is not a rule"


def test_an_unknown_selector_is_named_with_the_nearest_one() -> None:
    (mistake,) = mistakes_of({"emial": "a@b.c"})
    assert mistake.path == ("emial",)
    assert mistake.value == "emial"
    assert mistake.allowed.endswith("did you mean email?")


@pytest.mark.parametrize("key", sorted(NOT_BUILT_SELECTORS))
def test_selectors_of_cloudflare_that_are_not_built_are_told_from_misspelt_ones(key: str) -> None:
    (mistake,) = mistakes_of({key: {}})
    assert "this version of authd cannot evaluate" in mistake.message


def test_one_rule_is_one_selector() -> None:
    (mistake,) = mistakes_of({"email": "a@b.c", "ip": "10.0.0.1"})
    assert mistake.value == "email, ip"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"everyone": False}, ("everyone",)),
        ({"everyone": 1}, ("everyone",)),
        ({"everyone": "yes"}, ("everyone",)),
        ({"everyone": {"a": 1}}, ("everyone",)),
        ({"email": "a@b@c"}, ("email",)),
        ({"email": ["a@b.c", "d@e.f"]}, ("email",)),
        ({"email": ""}, ("email",)),
        ({"email": None}, ("email",)),
        ({"email": {"email": 5}}, ("email", "email")),
        ({"email": {}}, ("email", "email")),
        ({"email": {"mail": "a@b.c", "email": "a@b.c"}}, ("email", "mail")),
        ({"email_domain": "*.b.c"}, ("email_domain",)),
        ({"email_domain": {"domain": "a@b.c"}}, ("email_domain", "domain")),
        ({"ip": "10.0.0.1/8"}, ("ip",)),
        ({"ip": "10.0.0"}, ("ip",)),
        ({"ip": "10.0.0.0/33"}, ("ip",)),
        ({"ip": "010.0.0.1"}, ("ip",)),
        ({"ip": "fe80::1%eth0"}, ("ip",)),
        ({"ip": 167772160}, ("ip",)),
        ({"ip": "10.0.0.1 "}, ("ip",)),
        ({"group": 5}, ("group",)),
        ({"group": {"name": "x"}}, ("group", "name")),
        ({"oidc": "department"}, ("oidc",)),
        ({"oidc": {**_OIDC, "claim_value": None}}, ("oidc", "claim_value")),
        ({"oidc": {**_OIDC, "claim_value": 1.5}}, ("oidc", "claim_value")),
    ],
)
def test_a_bad_value_is_a_mistake_at_its_place(raw: Any, path: tuple[str, ...]) -> None:
    assert mistakes_of(raw)[0].path == path


def test_host_bits_are_a_mistake_that_says_what_was_meant() -> None:
    (mistake,) = mistakes_of({"ip": "10.0.0.1/8"})
    assert "did you mean 10.0.0.0/8?" in mistake.message


def test_all_mistakes_of_one_rule_are_told_at_once() -> None:
    found = {mistake.path[-1] for mistake in mistakes_of({"oidc": {"claim_nam": "x", "claim_value": []}})}
    assert found == {"claim_nam", "claim_name", "claim_value", "identity_provider_id"}


def test_a_claim_may_be_compared_with_a_number_or_a_flag() -> None:
    assert parse_rule({"oidc": {**_OIDC, "claim_value": True}}) == OidcRule("department", True, "corp")
    assert parse_rule({"oidc": {**_OIDC, "claim_value": 7}}) == OidcRule("department", 7, "corp")
