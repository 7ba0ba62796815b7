"""To whom a code by mail may be sent: to everybody who would be let in, and to few others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.model import Outcome
from authd.policy import decide
from authd.policy.prospects import could_admit
from tests.authd.policy.samples import create_facts, create_index, create_person
from tests.authd.policy.test_decide_properties import IPS, create_application, groups, people, policies

EVERYONE = {"include": [{"everyone": True}]}
ALICE = create_person(email="alice@example.com")


@given(groups, policies, people, st.sampled_from(IPS))
def test_whoever_would_be_let_in_could_be(group_values: Any, policy_values: Any, person: Any, ip: str) -> None:
    """The one mistake that matters: somebody with access would wait for a mail that never comes."""
    application, _, _ = create_application(group_values, policy_values)
    facts = create_facts(create_person(**person) if person else None, ip)
    if facts.identity is not None and decide(application, facts).outcome is Outcome.ALLOW:
        allowing = [policy for policy in application.policies if policy.decision == "allow"]
        assert could_admit(application, facts) or not allowing or _lets_machines_in(application, facts)


def _lets_machines_in(application: Any, facts: Any) -> bool:
    """Let in before any `allow` policy was asked: nobody is asked to log in there."""
    decision = decide(application, facts)
    return decision.policy_name in {policy.name for policy in application.policies if policy.decision == "non_identity"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([("allow", {"include": [{"email": "alice@example.com"}]})], True),
        ([("allow", {"include": [{"email": "bob@example.com"}]})], False),
        ([("allow", {**EVERYONE, "exclude": [{"email_domain": "example.com"}]})], False),
        (
            [("deny", {"include": [{"email": "alice@example.com"}]}), ("allow", EVERYONE)],
            False,
        ),
        ([("allow", EVERYONE), ("deny", EVERYONE)], True),
        ([("allow", {**EVERYONE, "require": [{"ip": "198.51.100.0/24"}]})], False),
        ([("allow", {**EVERYONE, "require": [{"auth_method": "otp"}]})], False),
        ([("bypass", EVERYONE)], False),
        ([("non_identity", EVERYONE)], False),
        # Nobody's country is known here: what a rule cannot say counts for the person.
        ([("allow", {**EVERYONE, "require": [{"geo": "DE"}]})], True),
        ([("deny", {"include": [{"geo": "DE"}]}), ("allow", EVERYONE)], True),
        ([], False),
    ],
)
def test_examples(written: list[tuple[str, dict[str, Any]]], expected: bool) -> None:
    values = [{"name": f"P{number}", "decision": decision, **rules} for number, (decision, rules) in enumerate(written)]
    organisation = {"applications": [{"id": "app", "domains": ["app.example.com"], "policies": values}]}
    (application,) = create_index(**organisation, country_header="CF-IPCountry").applications
    assert could_admit(application, create_facts(ALICE)) is expected
