"""Login with Entra ID: tenants, their keys, and more groups than fit into a token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from authd.errors import ProviderError, ProviderLiedError, ProviderRefusedError
from authd.idp import OidcProvider
from authd.idp.identities import derive_subject
from authd.model import Vouched
from tests.authd.idp.entra_server import FOREIGN, GROUPS, OURS, OVERAGE, PARTNER, EntraServer, running_entra
from tests.authd.idp.logins import log_in, log_in_whole, make_settings

Start = Callable[..., OidcProvider]
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
def entra() -> Iterator[EntraServer]:
    with running_entra() as started:
        yield started


def several(entra: EntraServer, start_worker: Start, **settings: Any) -> OidcProvider:
    members = {"claims": [], "allowed_tenants": [OURS, PARTNER]} | settings
    return start_worker(make_settings(f"{entra.url}/organizations/v2.0", **members))


def single(entra: EntraServer, start_worker: Start, **settings: Any) -> OidcProvider:
    return start_worker(make_settings(entra.issuer(OURS), claims=[], **settings))


async def refuse(worker: OidcProvider) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await log_in(worker)
    return caught.value


# Tenants


@pytest.mark.parametrize("tenant", [OURS, PARTNER])
async def test_tenants_that_are_named_get_in_each_as_its_own_issuer(
    entra: EntraServer, start_worker: Start, tenant: str
) -> None:
    entra.claims = {"iss": entra.issuer(tenant), "tid": tenant}
    worker = several(entra, start_worker)

    identity = await log_in(worker)

    assert identity.subject == derive_subject(entra.issuer(tenant), "pairwise-jane")
    assert (identity.tenant, identity.source) == (tenant, f"corp {tenant}")
    assert identity.email is None, "nobody vouched for the address"
    vouched = await worker.refresh(identity, "first")
    assert vouched.identity == replace(identity, authenticated_at=vouched.identity.authenticated_at)


async def test_the_person_is_the_same_whether_one_tenant_is_configured_or_several(
    entra: EntraServer, start_worker: Start
) -> None:
    people = [await log_in(make(entra, start_worker)) for make in (single, several)]

    assert people[0].subject == people[1].subject
    assert [person.source for person in people] == ["corp", f"corp {OURS}"]


@pytest.mark.parametrize("tid", [FOREIGN, None, "", "{tenantid}", f"{OURS}/../{FOREIGN}", f"x/{OURS}", [OURS], 5])
async def test_any_other_tenant_is_refused(entra: EntraServer, start_worker: Start, tid: Any) -> None:
    entra.claims = {"tid": tid, "iss": entra.issuer(str(tid))}

    # The key may be nobody's by such a tenant; either way nobody gets in.
    for entra.key_name in ("shared", "unbound"):
        assert (await refuse(several(entra, start_worker))).cause == "tenant_not_allowed"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": FOREIGN, "tid": OURS},
        {"iss": OURS, "tid": FOREIGN},
        {"iss": PARTNER, "tid": OURS},
        {"iss": "{tenantid}", "tid": OURS},
        {"iss": "organizations", "tid": OURS},
    ],
)
async def test_issuer_and_tenant_must_be_of_one_mind(
    entra: EntraServer, start_worker: Start, claims: dict[str, str]
) -> None:
    entra.claims = claims | {"iss": entra.issuer(claims["iss"])}

    for entra.key_name in ("shared", "unbound"):
        error = await refuse(several(entra, start_worker))
        assert error.cause in ("tenant_not_allowed", "id_token_issuer", "token_key_unknown")


@pytest.mark.parametrize("make", [single, several])
async def test_a_key_of_one_tenant_signs_for_no_other(
    entra: EntraServer, start_worker: Start, make: Callable[..., OidcProvider]
) -> None:
    entra.key_name = "of-foreign"
    assert (await refuse(make(entra, start_worker))).cause == "token_key_unknown"
    entra.key_name = "odd"
    assert (await refuse(make(entra, start_worker))).cause == "token_key_unknown"
    for entra.key_name in ("of-ours", "shared", "unbound"):
        await log_in(make(entra, start_worker))


async def test_a_template_is_no_issuer_of_a_single_tenant(entra: EntraServer, start_worker: Start) -> None:
    entra.claims = {"iss": entra.issuer()}
    assert (await refuse(single(entra, start_worker))).cause in ("id_token_issuer", "token_key_unknown")
    entra.metadata = lambda tenant: EntraServer.metadata(entra, "common")  # type: ignore[method-assign]
    assert (await refuse(single(entra, start_worker))).cause == "metadata_invalid"


async def test_the_document_of_one_tenant_is_not_the_one_of_several(entra: EntraServer, start_worker: Start) -> None:
    entra.metadata = lambda tenant: EntraServer.metadata(entra, FOREIGN)  # type: ignore[method-assign]
    assert (await refuse(several(entra, start_worker))).cause == "metadata_invalid"


async def test_a_refresh_follows_the_tenant(entra: EntraServer, start_worker: Start) -> None:
    worker = several(entra, start_worker)
    identity = await log_in(worker)

    async def cause(**claims: Any) -> str:
        entra.claims = claims
        with pytest.raises(ProviderRefusedError) as caught:
            await worker.refresh(identity, "first")
        assert caught.value.replaced_token == "next"
        return caught.value.cause

    assert await cause(tid=FOREIGN, iss=entra.issuer(FOREIGN)) == "tenant_not_allowed"
    # Both tenants have somebody by that name.
    assert await cause(tid=PARTNER, iss=entra.issuer(PARTNER)) == "other_subject"
    entra.refreshes_with_id_token = False
    assert (await worker.refresh(identity, "first")).identity.subject == identity.subject
    worker = several(entra, start_worker, allowed_tenants=[PARTNER])
    assert await cause() == "tenant_not_allowed", "the tenant was taken off the list"


async def test_logout_tokens_follow_the_tenant(entra: EntraServer, start_worker: Start) -> None:
    worker = several(entra, start_worker)

    def sign(tenant: str, tid: Any = None) -> str:
        claims = {"iss": entra.issuer(tenant), "tid": tid or tenant, "jti": "j", "events": {EVENT: {}}}
        return entra.sign(**claims)

    found = await worker.read_logout_token(sign(PARTNER))
    assert found is not None
    assert found.subject == derive_subject(entra.issuer(PARTNER), "pairwise-jane")
    assert await worker.read_logout_token(sign(FOREIGN)) is None
    assert await worker.read_logout_token(entra.sign(iss=["x"])) is None
    with pytest.raises(ProviderError):
        await worker.read_logout_token(sign(OURS, tid=PARTNER))
    with pytest.raises(ProviderError):
        await worker.read_logout_token(sign(OURS, tid=FOREIGN))
    entra.key_name = "of-foreign"
    with pytest.raises(ProviderLiedError):
        await worker.read_logout_token(sign(OURS))


# More groups than fit into a token


async def ask(entra: EntraServer, worker: OidcProvider, **claims: Any) -> Vouched:
    entra.claims = claims or OVERAGE
    return await log_in_whole(worker)


@pytest.mark.parametrize("claims", [OVERAGE, {"hasgroups": True}])
async def test_graph_tells_the_groups_in_pages(entra: EntraServer, start_worker: Start, claims: dict[str, Any]) -> None:
    worker = single(entra, start_worker, graph_url=f"{entra.url}/")

    vouched = await ask(entra, worker, **claims)

    assert vouched.identity.groups == GROUPS
    assert vouched.identity.groups_are_complete
    assert not vouched.is_partial
    assert len(entra.graph_requests) == 3
    assert {authorization for _, authorization in entra.graph_requests} == {"Bearer graph-token"}
    entra.groups = GROUPS[:1]
    refreshed = (await worker.refresh(vouched.identity, "first")).identity
    assert (refreshed.groups, refreshed.groups_are_complete) == (GROUPS[:1], True)


async def test_who_has_few_groups_is_not_asked_about(entra: EntraServer, start_worker: Start) -> None:
    vouched = await ask(entra, single(entra, start_worker, graph_url=entra.url), groups=["a"])

    assert (vouched.identity.groups, entra.graph_requests) == (("a",), [])


async def test_without_a_setting_nobody_is_asked_and_no_groups_are_known(
    entra: EntraServer, start_worker: Start, caplog: pytest.LogCaptureFixture
) -> None:
    vouched = await ask(entra, single(entra, start_worker))

    assert (vouched.identity.groups, vouched.identity.groups_are_complete) == ((), False)
    assert not vouched.is_partial
    assert entra.graph_requests == []
    assert [record.msg for record in caplog.records] == ["provider.groups_elsewhere"]


def page(*members: Any, **others: Any) -> tuple[int, Any]:
    return 200, {"value": list(members), **others}


GROUP = {"@odata.type": "#microsoft.graph.group", "id": "g"}
# What Graph may answer, whether asking again soon is worth it, and the word in the log.
FAILURES: dict[str, tuple[Callable[[EntraServer, str], tuple[int, Any]], bool, str]] = {
    "not allowed": (lambda entra, query: (403, {"error": {"code": "Authorization_RequestDenied"}}), False, "User.Read"),
    "another audience": (lambda entra, query: (401, {"error": {"code": "InvalidAuthenticationToken"}}), False, "401"),
    "throttled": (lambda entra, query: (429, {}), True, "429"),
    "down": (lambda entra, query: (503, {}), True, "503"),
    "moved": (lambda entra, query: (302, {}), False, "302"),
    "slow": (lambda entra, query: (entra.stopping.wait(20), page(GROUP))[1], True, "took longer"),
    "huge": (lambda entra, query: (200, b" " * 2_000_000), False, "larger"),
    "no JSON": (lambda entra, query: (200, b"<html>"), False, "JSON"),
    "a list": (lambda entra, query: (200, [GROUP]), False, "object"),
    "no list": (lambda entra, query: (200, {"value": {"0": GROUP}}), False, "no list"),
    "no objects": (lambda entra, query: page("g"), False, "no list"),
    "a group without an id": (lambda entra, query: page(GROUP | {"id": None}), False, "without an id"),
    "a member of no kind": (lambda entra, query: page(GROUP, {"id": "g2"}), False, "no known kind"),
    "endless": (lambda entra, query: page(GROUP, **{"@odata.nextLink": entra.link(0)}), False, "pages"),
    "half": (
        lambda entra, query: (500, {}) if "skiptoken" in query else page(GROUP, **{"@odata.nextLink": entra.link(1)}),
        True,
        "500",
    ),
    "another server": (
        lambda entra, query: page(GROUP, **{"@odata.nextLink": "https://graph.example/v1.0/me/transitiveMemberOf"}),
        False,
        "another server",
    ),
    "a link that is none": (lambda entra, query: page(GROUP, **{"@odata.nextLink": 5}), False, "another server"),
    "another host by a user name": (
        lambda entra, query: page(GROUP, **{"@odata.nextLink": f"{entra.url}@graph.example/v1.0/me"}),
        False,
        "another server",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_where_graph_does_not_tell_there_are_no_groups_and_one_line_says_so(
    entra: EntraServer, start_worker: Start, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer, is_passing, word = FAILURES[name]
    worker = single(entra, start_worker, graph_url=entra.url)
    known = (await ask(entra, worker)).identity
    assert known.groups == GROUPS
    entra.graph = lambda query: answer(entra, query)

    told = [await log_in_whole(worker), await worker.refresh(known, "first")]

    for vouched in told:
        assert (vouched.identity.groups, vouched.identity.groups_are_complete) == ((), False)
        assert vouched.is_partial == is_passing
        assert vouched.identity.subject == known.subject
    lines = [record for record in caplog.records if record.name.startswith("authd")]
    assert [line.msg for line in lines] == ["provider.groups_elsewhere"] * 2
    said = json.dumps(lines[0].fields)  # type: ignore[attr-defined]
    assert word in said
    assert "graph-token" not in said


async def test_groups_that_a_refresh_says_nothing_of_are_not_those_of_before(
    entra: EntraServer, start_worker: Start
) -> None:
    worker = single(entra, start_worker, graph_url=entra.url)
    known = (await ask(entra, worker, groups=["a"])).identity
    entra.refreshes_with_id_token = False

    once = (await worker.refresh(known, "first")).identity
    twice = (await worker.refresh(once, "first")).identity

    assert [(each.groups, each.groups_are_complete) for each in (once, twice)] == [((), False)] * 2
