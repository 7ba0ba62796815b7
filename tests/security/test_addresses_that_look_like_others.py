"""attacks.md 1.10, identity claims: an address that somebody chose to look like another person's admits nobody else.

The texts go through the one reader that providers' answers go through, and then through real policies.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from authd.config import parse_config, parse_email
from authd.model import Outcome
from authd.policy import build_index, decide
from tests.authd.policy.samples import create_facts, create_person

CONFIGURATION = """
team_domain: auth.example.com
lists:
  - {name: admins, type: email, items: [admin@corp.test, mark@corp.test, james@corp.test]}
applications:
  - id: staff
    domains: [staff.example.com]
    policies: [{name: Staff, decision: allow, include: [{email_domain: corp.test}]}]
  - id: admin
    domains: [admin.example.com]
    policies: [{name: Admins, decision: allow, include: [{email_list: admins}, {email: a@corp.test}]}]
  - id: everybody-but
    domains: [open.example.com]
    policies: [{name: Not Mallory, decision: allow, include: [{everyone: true}], exclude: [{email: mallory@evil.test}]}]
"""
INDEX = build_index(parse_config(CONFIGURATION, source="test", base_dir=Path("/nonexistent")))

CHOSEN = [
    "a@evil.test@corp.test",
    "a@corp.test.evil.test",
    "a@evilcorp.test",
    "a@sub.corp.test",
    " a@corp.test",
    "a@corp.test ",
    "a@corp.test\n",
    "a@corp.test\0",
    '"a@corp.test"@evil.test',
    "a@corp.test,b@evil.test",
    "a@corp.test;b@evil.test",
    "b@evil.test,a@corp.test",
    "<a@corp.test>",
    "a@corp。test",
    "a@corp．test",
    "a@ｃorp.test",
    "a@corp.te\u017ft",
    "a@corp.test.",
    "a%40corp.test@evil.test",
    "a@xn--corp-.test",
    "a" * 10_000 + "@corp.test",
    "",
    None,
    ["a@corp.test"],
    {"email": "a@corp.test"},
    True,
]
LOOKALIKES = ["adm\u0131n@corp.test", "mar\u212a@corp.test", "jame\u017f@corp.test", "\uff41@corp.test", "ª@corp.test"]


def outcome(application: str, unverified_email: object) -> Outcome:
    person = create_person(email=parse_email(unverified_email))
    return decide(INDEX.get_application(application), create_facts(person)).outcome


@pytest.mark.parametrize("application", ["staff", "admin"])
@pytest.mark.parametrize("email", CHOSEN, ids=repr)
def test_a_chosen_text_is_nobody_of_the_company(application: str, email: object) -> None:
    assert outcome(application, email) is Outcome.DENY


@pytest.mark.parametrize("email", LOOKALIKES, ids=ascii)
def test_a_letter_that_folds_to_ascii_makes_nobody_an_administrator(email: str) -> None:
    assert outcome("admin", email) is Outcome.DENY


@pytest.mark.parametrize("email", ["Mallory@Evil.Test", "mallory@EVIL.test", "MALLORY@evil.test"])
def test_another_case_is_no_way_around_an_exclusion(email: str) -> None:
    assert outcome("everybody-but", email) is Outcome.DENY


@pytest.mark.parametrize("email", ["mallory@evil.test\n", '"mallory"@evil.test', None, "mallory@evil.test,x@y.test"])
def test_an_address_that_cannot_be_read_is_no_way_around_an_exclusion(email: object) -> None:
    assert outcome("everybody-but", email) is Outcome.DENY


def test_the_people_who_are_meant_get_in() -> None:
    assert outcome("staff", "Anybody@CORP.test") is Outcome.ALLOW
    assert outcome("admin", "Admin@corp.test") is Outcome.ALLOW
    assert outcome("everybody-but", "alice@evil.test") is Outcome.ALLOW
