"""What spans several parts of the file: names, cycles, duplicates, contradictions."""

from __future__ import annotations

from typing import Any

import pytest

from authd.config import derive_aud
from tests.authd.config.samples import (
    PROVIDER,
    application,
    application_with_rule,
    find_mistakes_in_values,
    find_only_mistake,
    parse_values,
)

_EVERYONE = [{"everyone": True}]


def group(name: str, *include: Any) -> dict[str, Any]:
    return {"name": name, "include": list(include) or _EVERYONE}


@pytest.mark.parametrize("section", ["include", "require", "exclude"])
@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"group": "x"}, "group"),
        ({"group": {"id": "x"}}, "group"),
        ({"email_list": "x"}, "email_list"),
        ({"email_list": "office"}, "email_list"),
        ({"ip_list": "staff"}, "ip_list"),
        ({"login_method": "x"}, "login_method"),
        (
            {"oidc": {"claim_name": "groups", "claim_value": "a", "identity_provider_id": "x"}},
            "oidc.identity_provider_id",
        ),
    ],
)
def test_names_that_are_not_declared_are_mistakes_wherever_they_stand(section: str, rule: Any, key: str) -> None:
    lists = [
        {"name": "staff", "type": "email", "items": ["a@b.c"]},
        {"name": "office", "type": "ip", "items": ["10.0.0.0/8"]},
    ]
    mistake = find_only_mistake(
        identity_providers=[PROVIDER], lists=lists, applications=[application_with_rule(rule, section=section)]
    )
    position = f"applications[0].policies[0].{section}[0]"
    assert mistake.key == f"{position}.{key}"
    assert mistake.message.startswith("unknown ")


def test_names_are_case_sensitive() -> None:
    mistake = find_only_mistake(groups=[group("Staff")], applications=[application_with_rule({"group": "staff"})])
    assert mistake.allowed == "Staff, did you mean Staff?"


def test_groups_are_checked_like_policies() -> None:
    assert find_only_mistake(groups=[group("a", {"group": "b"})]).key == "groups[0].include[0].group"


def test_a_claim_that_is_not_kept_would_never_match_and_is_a_mistake() -> None:
    rule = {"oidc": {"claim_name": "departmnt", "claim_value": "x", "identity_provider_id": "corp"}}
    provider = {**PROVIDER, "claims": ["department"]}
    mistake = find_only_mistake(identity_providers=[provider], applications=[application_with_rule(rule)])
    assert mistake.key.endswith("include[0].oidc.claim_name")
    assert "did you mean department?" in mistake.allowed


@pytest.mark.parametrize("claim", ["department", "roles"])
def test_kept_claims_and_the_groups_claim_can_be_asked_for(claim: str) -> None:
    rule = {"oidc": {"claim_name": claim, "claim_value": "x", "identity_provider_id": "corp"}}
    provider = {**PROVIDER, "claims": ["department"], "groups_claim": "roles"}
    assert parse_values(identity_providers=[provider], applications=[application_with_rule(rule)])


@pytest.mark.parametrize(
    ("groups", "cycle"),
    [
        ([group("a", {"group": "a"})], "a -> a"),
        ([group("a", {"group": "b"}), group("b", {"group": "a"})], "a -> b -> a"),
        (
            [
                group("a"),
                group("b", {"group": "a"}, {"group": "c"}),
                group("c", {"group": "d"}),
                group("d", {"group": "b"}),
            ],
            "b -> c -> d -> b",
        ),
    ],
)
def test_a_cycle_of_groups_is_printed(groups: list[Any], cycle: str) -> None:
    mistake = find_only_mistake(groups=groups)
    assert (mistake.message, mistake.value) == ("uses itself", cycle)


def test_a_cycle_through_exclude_is_a_cycle() -> None:
    groups = [{**group("a"), "exclude": [{"group": "b"}]}, {**group("b"), "require": [{"group": "a"}]}]
    assert find_only_mistake(groups=groups).value == "a -> b -> a"


def test_two_cycles_are_two_mistakes_and_a_diamond_is_none() -> None:
    diamond = [
        group("a", {"group": "b"}, {"group": "c"}),
        group("b", {"group": "d"}),
        group("c", {"group": "d"}),
        group("d"),
    ]
    assert len(parse_values(groups=diamond).groups) == 4
    loops = [group("x", {"group": "x"}), group("y", {"group": "z"}), group("z", {"group": "y"})]
    assert [mistake.value for mistake in find_mistakes_in_values(groups=diamond + loops)] == ["x -> x", "y -> z -> y"]


def test_a_long_chain_of_groups_is_no_cycle_and_no_crash() -> None:
    chain = [group(f"g{n}", {"group": f"g{n + 1}"}) for n in range(3000)] + [group("g3000")]
    assert len(parse_values(groups=chain).groups) == 3001


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"groups": [group("a"), group("a")]}, "groups[1].name"),
        ({"lists": [{"name": "a", "type": "ip", "items": ["10.0.0.1"]}] * 2}, "lists[1].name"),
        ({"identity_providers": [PROVIDER, PROVIDER]}, "identity_providers[1].id"),
        ({"applications": [application(), application(domains=["b.example.com"])]}, "applications[1].id"),
        ({"applications": [application(), application(id="b")]}, "applications[1].domains[0]"),
        ({"applications": [application(domains=["a.example.com", "A.example.com/*"])]}, "applications[0].domains[1]"),
        (
            {"applications": [application(domains=["a.example.com/x", "a.example.com/x/"])]},
            "applications[0].domains[1]",
        ),
        (
            {"applications": [application(aud="a" * 64), application(id="b", domains=["b.example.com"], aud="a" * 64)]},
            "applications[1].aud",
        ),
        (
            {
                "applications": [
                    application(policies=[{"name": "P", "id": "x", "decision": "allow", "include": _EVERYONE}] * 2)
                ]
            },
            "applications[0].policies[1].id",
        ),
    ],
)
def test_what_must_be_unique_is_not_doubled(sections: Any, key: str) -> None:
    mistake = find_only_mistake(**sections)
    assert mistake.key == key
    assert mistake.message.startswith("is the same ")


def test_an_aud_tag_cannot_be_taken_from_another_application() -> None:
    victim = parse_values(applications=[application()]).applications[0]
    aud = derive_aud("auth.example.com", victim)
    thief = application(id="thief", domains=["thief.example.com"], aud=aud)
    assert find_only_mistake(applications=[application(), thief]).key == "applications[1].aud"


def test_one_host_has_one_port() -> None:
    domains = ["a.example.com:8443", "a.example.com:8444/x", "a.example.com/y"]
    mistake = find_only_mistake(applications=[application(domains=domains)])
    assert mistake.key == "applications[0].domains[1]"
    assert "another port than applications[0].domains[0]" in mistake.message


@pytest.mark.parametrize("domain", ["auth.example.com", "AUTH.example.com:8443", "auth.example.com/wiki"])
def test_an_application_on_the_team_host_has_to_be_permitted(domain: str) -> None:
    applications = [application(domains=[domain])]
    assert find_only_mistake(applications=applications).key == "applications[0].domains[0]"
    assert parse_values(applications=applications, allow_shared_team_host=True)


@pytest.mark.parametrize("decision", ["bypass", "non_identity"])
@pytest.mark.parametrize("section", ["include", "require", "exclude"])
def test_before_a_login_nothing_may_ask_who_somebody_is(decision: str, section: str) -> None:
    rules: list[Any] = [{"email": "a@b.c"}, {"login_method": "corp"}, {"group": "outer"}]
    groups = [group("outer", {"ip": "10.0.0.1"}, {"group": "inner"}), group("inner", {"auth_method": "mfa"})]
    for rule in rules:
        applications = [application_with_rule(rule, decision=decision, section=section)]
        mistake = find_only_mistake(identity_providers=[PROVIDER], groups=groups, applications=applications)
        assert mistake.key.startswith(f"applications[0].policies[0].{section}[0].")
        assert "looks at who somebody is" in mistake.message


@pytest.mark.parametrize(
    "rule", [{"everyone": True}, {"ip": "10.0.0.0/8"}, {"ip_list": "office"}, {"group": "networks"}]
)
def test_a_bypass_may_ask_where_somebody_is(rule: Any) -> None:
    lists = [{"name": "office", "type": "ip", "items": ["10.0.0.0/8"]}]
    groups = [group("networks", {"ip_list": "office"})]
    assert parse_values(lists=lists, groups=groups, applications=[application_with_rule(rule, decision="bypass")])


@pytest.mark.parametrize(
    ("providers", "allowed", "is_good"),
    [(0, [], False), (1, [], True), (2, [], False), (2, ["p1"], True), (2, ["p0", "p1"], False)],
)
def test_the_chooser_is_skipped_only_where_there_is_one_choice(
    providers: int, allowed: list[str], is_good: bool
) -> None:
    sections = {
        "identity_providers": [{**PROVIDER, "id": f"p{n}"} for n in range(providers)],
        "applications": [application(auto_redirect_to_identity=True, allowed_idps=allowed)],
    }
    if is_good:
        assert parse_values(**sections).applications[0].auto_redirect_to_identity
    else:
        assert find_only_mistake(**sections).key == "applications[0].auto_redirect_to_identity"


def test_a_group_with_a_mistake_of_its_own_is_still_known_to_others() -> None:
    broken = {**group("staff"), "inclde": []}
    mistakes = find_mistakes_in_values(groups=[broken], applications=[application_with_rule({"group": "staff"})])
    assert [mistake.key for mistake in mistakes] == ["groups[0].inclde"]
