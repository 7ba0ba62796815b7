"""What policies decide: the vectors, and what no vector can say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from authd.model import Outcome, Reason
from authd.policy import decide
from tests.authd.policy.samples import create_facts, create_index, create_person, load_vectors

VECTORS = load_vectors("policy_decisions.json")
PEOPLE = {name: create_person(**values) if values else None for name, values in VECTORS["people"].items()}


def create_application(policies: list[Any], **organisation: Any) -> Any:
    application = {"id": "app", "domains": ["app.example.com"], "policies": policies}
    return create_index(**{**VECTORS["organisation"], "applications": [application], **organisation}).applications[0]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    application = create_application(case["policies"])
    for person, ip, *expected in case["answers"]:
        decision = decide(application, create_facts(PEOPLE[person], ip))
        got = [decision.outcome, decision.reason, decision.policy_name, decision.rule]
        assert got == expected, (person, ip)
        assert decision.application_id == "app"


def test_the_policy_is_named_with_its_id() -> None:
    policy = {"name": "P", "id": "my-policy", "decision": "allow", "include": [{"everyone": True}]}
    decision = decide(create_application([policy]), create_facts(PEOPLE["alice"]))
    assert decision.policy_id == "my-policy"


def test_a_login_names_no_policy_to_somebody_unknown() -> None:
    policy = {"name": "Secret project", "decision": "allow", "include": [{"email": "alice@example.com"}]}
    decision = decide(create_application([policy]), create_facts(None))
    assert (decision.outcome, decision.policy_name, decision.rule) == (Outcome.LOGIN, None, None)


@pytest.mark.parametrize(
    "email",
    [
        "a@evil.test@example.com",
        "example.com",
        "@example.com@evil.test",
        "a@example.com.",
        "a@EXAMPLE.com",
        "a@sub.example.com",
    ],
)
def test_an_address_that_should_never_have_come_this_far_belongs_to_no_domain(email: str) -> None:
    policy = {"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}
    assert PEOPLE["alice"] is not None
    facts = create_facts(replace(PEOPLE["alice"], email=email))
    assert decide(create_application([policy]), facts).reason is Reason.NO_POLICY_MATCHED


CONTRACTORS = {"oidc": {"claim_name": "groups", "claim_value": "contractors", "identity_provider_id": "corp"}}
EVERYONE = {"everyone": True}


@pytest.mark.parametrize(
    "policies",
    [
        [{"name": "Of them", "decision": "allow", "include": [CONTRACTORS]}],
        [{"name": "With them", "decision": "allow", "include": [EVERYONE], "require": [CONTRACTORS]}],
        [{"name": "Others", "decision": "allow", "include": [EVERYONE], "exclude": [CONTRACTORS]}],
        [
            {"name": "Not they", "decision": "deny", "include": [CONTRACTORS]},
            {"name": "Everyone", "decision": "allow", "include": [EVERYONE]},
        ],
    ],
    ids=["include", "require", "exclude", "deny"],
)
def test_nobody_gets_in_by_groups_that_nobody_knows(policies: list[Any]) -> None:
    person = create_person(email="a@example.com", groups=["staff"], groups_are_complete=False)
    assert decide(create_application(policies), create_facts(person)).outcome is Outcome.DENY


def test_a_group_that_is_known_counts_and_rules_on_anything_else_do_not_care() -> None:
    person = create_person(email="a@example.com", groups=["contractors"], groups_are_complete=False)
    for rule in (CONTRACTORS, EVERYONE):
        policy = {"name": "P", "decision": "allow", "include": [rule]}
        assert decide(create_application([policy]), create_facts(person)).outcome is Outcome.ALLOW


@pytest.mark.parametrize("claim", [None, {}, {"sales": True}, [["sales"]], [None, 1], 1.0, "sales ", "SALES", ""])
def test_odd_claims_match_nothing_and_break_nothing(claim: Any) -> None:
    rule = {"oidc": {"claim_name": "department", "claim_value": "sales", "identity_provider_id": "corp"}}
    application = create_application([{"name": "Sales", "decision": "allow", "include": [rule]}])
    person = create_person(email="a@example.com", claims={"department": claim})
    assert decide(application, create_facts(person)).outcome is Outcome.DENY


@pytest.mark.parametrize(
    ("claim", "wanted"), [(1, True), (True, 1), (0, False), (1.0, 1), ("1", 1), (1, "1"), ([True], 1)]
)
def test_json_values_of_different_types_are_not_equal(claim: Any, wanted: Any) -> None:
    rule = {"oidc": {"claim_name": "level", "claim_value": wanted, "identity_provider_id": "corp"}}
    application = create_application([{"name": "L", "decision": "allow", "include": [rule]}])
    assert decide(application, create_facts(create_person(claims={"level": claim}))).outcome is Outcome.DENY
    assert decide(application, create_facts(create_person(claims={"level": wanted}))).outcome is Outcome.ALLOW


def test_a_large_list_of_networks_is_exact_at_its_edges() -> None:
    items = [f"10.{n}.{m}.0/24" for n in range(0, 200, 2) for m in range(0, 250, 5)] + ["10.1.0.0/16", "0.0.0.0/32"]
    lists = [{"name": "many", "type": "ip", "items": items}]
    policy = {"name": "Open", "decision": "bypass", "include": [{"ip_list": "many"}]}
    application = create_application([policy], lists=lists, groups=[])
    inside = ["10.0.0.0", "10.0.0.255", "10.1.77.1", "10.198.245.255", "0.0.0.0", "10.2.0.0"]
    outside = [
        "9.255.255.255",
        "10.0.1.0",
        "10.0.4.255",
        "10.3.0.0",
        "10.198.246.0",
        "255.255.255.255",
        "0.0.0.1",
        "::",
    ]
    for ip in inside:
        assert decide(application, create_facts(None, ip)).outcome is Outcome.BYPASS, ip
    for ip in outside:
        assert decide(application, create_facts(None, ip)).outcome is Outcome.DENY, ip


def test_a_bypass_that_cannot_be_sure_lets_nobody_in() -> None:
    """The configuration refuses such a policy; should one ever get through, it must not open anything."""
    allowed = create_application([{"name": "P", "decision": "allow", "include": [{"email": "alice@example.com"}]}])
    for decision in ("bypass", "non_identity"):
        policy = replace(allowed.policies[0], decision=decision)
        application = replace(allowed, policies=(policy,))
        assert decide(application, create_facts(None)).outcome is Outcome.DENY


def test_an_ipv6_number_is_not_the_ipv4_address_of_the_same_number() -> None:
    policy = {"name": "Open", "decision": "bypass", "include": [{"ip": "0.0.0.0/0"}]}
    assert decide(create_application([policy]), create_facts(None, "::1")).outcome is Outcome.DENY
