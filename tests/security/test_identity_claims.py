"""What a provider says about somebody, up to the door: nobody is admitted by what only looks right.

How each claim is read is told in tests/authd/idp/test_identities.py; here the decision counts (attacks.md 1.1, 1.10).
"""

from __future__ import annotations

from typing import Any

import pytest

from authd.idp.identities import build_identity
from tests.security.conftest import StartEdge
from tests.security.edge import PROVIDER, Edge

APPLICATIONS: list[dict[str, Any]] = [
    {"id": name, "domains": [f"{name}.test"], "policies": [{"name": name, "decision": "allow", "include": [rule]}]}
    for name, rule in (
        ("domain", {"email_domain": "corp.test"}),
        ("person", {"email": "admin@corp.test"}),
        ("group", {"oidc": {"claim_name": "groups", "claim_value": "admins", "identity_provider_id": "corp"}}),
        ("anybody", {"everyone": True}),
    )
]
EMAILS: list[object] = [
    "a@evil.com@corp.test",
    "a@corp.test.evil.com",
    "a@evilcorp.test",
    "a@sub.corp.test",
    "a@corp.test\n",
    " a@corp.test",
    "a@corp.test ",
    '"a@corp.test"@evil.com',
    "a@corp.test,b@evil.com",
    "b@evil.com,a@corp.test",
    "a@corp.test;b@evil.com",
    "admın@corp.test.evil",
    "a@ｃorp.test",
    "a@corp。test",
    "a@corp.test\x00",
    "a@corp.test%00",
    "a@corp.test#",
    "a@[corp.test]",
    "@corp.test",
    "a@",
    "corp.test",
    "",
    "<a@corp.test>",
    "Admin <admin@corp.test>",
    "a\r\n@corp.test",
    "x" * 10_000 + "@corp.test",
    ["admin@corp.test"],
    {"value": "admin@corp.test"},
    None,
    True,
    1,
    "a@corp.test@evil.com",
    "a@cоrp.test",
    "a@xn--corp-.test",
]
NOT_ADMIN = [
    "admın@corp.test",
    "ａdmin@corp.test",
    "admin+x@corp.test",
    "admin.@corp.test",
    "a.dmin@corp.test",
    "adm\u0069\u0307n@corp.test",
]
GROUPS: list[object] = [
    "admins",
    "staff,admins",
    ["staff,admins"],
    ["staff\nadmins"],
    [["admins"]],
    {"admins": True},
    [{"id": "admins"}],
    [" admins"],
    ["admins "],
    ["Admins"],
    ["admins\x00"],
    [1],
    None,
    ["admıns"],
    [{"name": ["admins"]}],
    "*",
    ["*"],
    [True],
]


async def statuses(edge: Edge, claims: dict[str, Any]) -> dict[str, int]:
    settings = edge.worker.policies().config.identity_providers[0]
    identity = build_identity(settings, provider_subject="somebody", sources=[claims], now=edge.now)
    members = {
        name: getattr(identity, name)
        for name in ("subject", "provider_subject", "unverified_email", "groups", "claims")
    }
    session = await edge.log_in(identity.email, **members)
    found = {}
    for application in ("domain", "person", "group", "anybody"):
        cookie = edge.cookie(edge.token(session, application), application)
        found[application] = (await edge.check(f"{application}.test", cookie=cookie)).status
    assert found.pop("anybody") == 200, "somebody who is logged in is somebody"
    return found


@pytest.fixture
async def corp(start_edge: StartEdge) -> Edge:
    return await start_edge(applications=APPLICATIONS)


async def test_those_who_are_meant_are_admitted(corp: Edge) -> None:
    for email in ("admin@corp.test", "Admin@CORP.TEST", "ADMIN@corp.test"):
        assert await statuses(corp, {"email": email, "email_verified": True}) == {
            "domain": 200,
            "person": 200,
            "group": 403,
        }
    assert (await statuses(corp, {"groups": ["staff", "admins"]}))["group"] == 200
    assert (await statuses(corp, {"groups": [{"id": "1", "name": "admins"}]}))["group"] == 200


async def test_an_address_that_is_not_the_domains_is_refused(corp: Edge) -> None:
    admitted = [email for email in EMAILS
                if 200 in (await statuses(corp, {"email": email, "email_verified": True})).values()]  # fmt: skip
    assert admitted == []
    for email in NOT_ADMIN:
        assert (await statuses(corp, {"email": email, "email_verified": True}))["person"] == 403, email


async def test_an_address_that_is_not_verified_is_nobodys(corp: Edge, start_edge: StartEdge) -> None:
    """CVE-2026-55076: `"false"` was taken for true."""
    for verdict in (False, "false", "true", "True", 0, 1, None, [], [True], {}, "yes"):
        assert 200 not in (await statuses(corp, {"email": "admin@corp.test", "email_verified": verdict})).values(), (
            verdict
        )
    assert 200 not in (await statuses(corp, {"email": "admin@corp.test"})).values()
    believing = await start_edge(applications=APPLICATIONS, providers=[PROVIDER | {"assume_email_verified": True}])
    assert (await statuses(believing, {"email": "admin@corp.test"}))["person"] == 200
    for verdict in (False, "false", "true", 1):
        assert (await statuses(believing, {"email": "admin@corp.test", "email_verified": verdict}))["person"] == 403


async def test_a_group_is_its_name_and_nothing_else(corp: Edge) -> None:
    for groups in GROUPS:
        assert (await statuses(corp, {"groups": groups}))["group"] == 403, groups
    overage = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "http://127.0.0.1:9/"}}}
    assert (await statuses(corp, overage))["group"] == 403
    assert (await statuses(corp, {"groups": ["admin"] * 5000 + ["admins"]}))["group"] == 200


async def test_the_same_address_from_two_people_is_two_people(corp: Edge) -> None:
    """Who somebody is goes by issuer and subject: an address changes hands."""
    settings = corp.worker.policies().config.identity_providers[0]
    claims = {"email": "admin@corp.test", "email_verified": True}
    first, second = (build_identity(settings, provider_subject=who, sources=[claims], now=0) for who in ("one", "two"))
    assert first.subject != second.subject
    sessions = [await corp.log_in(each.email, subject=each.subject) for each in (first, second)]
    cookies = "; ".join(corp.cookie(corp.token(session, "person"), "person") for session in sessions)
    assert (await corp.check("person.test", cookie=cookies)).status == 403
