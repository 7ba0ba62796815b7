"""Random policies and people against an independent reference, and what must hold for all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from authd.model import Decision, Outcome
from authd.policy import Step, decide
from tests.authd.policy import reference
from tests.authd.policy.samples import create_facts, create_index, create_person

IPS = ("192.0.2.1", "192.0.2.200", "198.51.100.1", "2001:db8::1")
EMAILS = ("alice@example.com", "bob@example.com", "alice@sub.example.com", "carol@example.net")
PROVIDERS = ("corp", "partner")
LISTS = {"people": ["alice@example.com", "carol@example.net"], "networks": ["192.0.2.0/25", "2001:db8::/64"]}
GROUPS = ("g0", "g1", "g2")

place_rules = st.sampled_from(
    [{"everyone": {}}, {"ip_list": {"id": "networks"}}]
    + [{"ip": {"ip": ip}} for ip in ("192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "0.0.0.0/0")]
)
identity_rules = st.sampled_from(
    [{"email": {"email": email}} for email in EMAILS]
    + [{"email_domain": {"domain": domain}} for domain in ("example.com", "example.net")]
    + [{"email_list": {"id": "people"}}]
    + [{"login_method": {"id": provider}} for provider in PROVIDERS]
    + [{"auth_method": {"auth_method": method}} for method in ("mfa", "pwd")]
    + [
        {"oidc": {"claim_name": name, "claim_value": value, "identity_provider_id": provider}}
        for name in ("roles", "groups")
        for value in ("a", "b")
        for provider in PROVIDERS
    ]
)


def rule_sets(*rules: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    rule = st.one_of(*rules)
    few = st.lists(rule, max_size=2)
    return st.fixed_dictionaries({"include": st.lists(rule, min_size=1, max_size=3), "require": few, "exclude": few})


def group_rules(*names: str) -> st.SearchStrategy[Any]:
    return st.sampled_from([{"group": {"id": name}} for name in names])


# A group may use the ones before it: no cycles. Policies before login use the first, which knows no identity.
groups = st.tuples(
    rule_sets(place_rules),
    rule_sets(place_rules, identity_rules, group_rules("g0")),
    rule_sets(place_rules, identity_rules, group_rules("g0", "g1")),
)
after_login = st.tuples(
    st.sampled_from(["allow", "deny"]), rule_sets(place_rules, identity_rules, group_rules(*GROUPS))
)
before_login = st.tuples(st.sampled_from(["bypass", "non_identity"]), rule_sets(place_rules, group_rules("g0")))
policies = st.lists(st.one_of(after_login, after_login, before_login), max_size=5)
people = st.none() | st.fixed_dictionaries(
    {
        "provider_id": st.sampled_from(PROVIDERS),
        "email": st.none() | st.sampled_from(EMAILS),
        "auth_methods": st.lists(st.sampled_from(["mfa", "pwd"]), max_size=2),
        "groups": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "groups_are_complete": st.booleans(),
        "claims": st.fixed_dictionaries({}, optional={"roles": st.lists(st.sampled_from(["a", "b"]), max_size=2)}),
    }
)


def create_application(group_values: Any, policy_values: Any) -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    named = [{"name": f"p{n}", "decision": decision, **rules} for n, (decision, rules) in enumerate(policy_values)]
    provider = {"type": "oidc", "issuer": "https://idp.example.com", "client_id": "authd", "claims": ["roles"]}
    index = create_index(
        identity_providers=[{**provider, "id": name} for name in PROVIDERS],
        lists=[
            {"name": "people", "type": "email", "items": LISTS["people"]},
            {"name": "networks", "type": "ip", "items": LISTS["networks"]},
        ],
        groups=[{"name": name, **rules} for name, rules in zip(GROUPS, group_values, strict=True)],
        applications=[{"id": "app", "domains": ["app.example.com"], "policies": named}],
    )
    world = {"lists": LISTS, "groups": dict(zip(GROUPS, group_values, strict=True))}
    return index.applications[0], world, named


@given(groups, policies, st.lists(st.tuples(people, st.sampled_from(IPS)), min_size=1, max_size=4))
def test_decisions_are_those_of_the_reference(group_values: Any, policy_values: Any, visitors: Any) -> None:
    application, world, named = create_application(group_values, policy_values)
    for person, ip in visitors:
        decision = decide(application, create_facts(create_person(**person) if person else None, ip))
        assert (decision.outcome, decision.policy_name) == reference.decide(named, person, ip, world)


@given(groups, policies, people, st.sampled_from(IPS))
def test_a_trace_changes_nothing_and_ends_at_the_policy_that_decided(
    group_values: Any, policy_values: Any, person: Any, ip: str
) -> None:
    application, _, _ = create_application(group_values, policy_values)
    facts = create_facts(create_person(**person) if person else None, ip)
    trace: list[Step] = []
    decision = decide(application, facts, trace)
    assert decision == decide(application, facts)
    if decision.policy_name is not None:
        assert trace[-1].text == decision.policy_name
        assert trace[-1].answer is not False
    elif decision.outcome is Outcome.DENY:
        assert len(trace) == len(policy_values)


@given(groups, policies, people.filter(bool), st.sampled_from(IPS))
def test_whoever_is_let_in_after_a_login_was_sent_to_it_or_let_in_before(
    group_values: Any, policy_values: Any, person: Any, ip: str
) -> None:
    """If an anonymous visitor were denied where a login would admit, nobody could ever log in."""
    application, _, _ = create_application(group_values, policy_values)
    after = decide(application, create_facts(create_person(**person), ip))
    before = decide(application, create_facts(None, ip))
    if after.outcome is Outcome.ALLOW:
        assert before.outcome is Outcome.LOGIN or before == after
    if before.outcome is Outcome.DENY or before.outcome is Outcome.BYPASS:
        assert after.outcome is before.outcome


@given(groups, policies, people, st.sampled_from(IPS))
def test_another_deny_in_front_never_lets_anybody_in(
    group_values: Any, policy_values: Any, person: Any, ip: str
) -> None:
    def outcome(values: Any) -> Decision:
        application, _, _ = create_application(group_values, values)
        return decide(application, create_facts(create_person(**person) if person else None, ip))

    everybody = ("deny", {"include": [{"everyone": {}}], "require": [], "exclude": []})
    strict = outcome([everybody, *policy_values])
    assert strict.outcome in (Outcome.DENY, Outcome.BYPASS) or strict.outcome is outcome(policy_values).outcome
