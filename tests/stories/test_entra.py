"""People of two tenants of Entra ID, some with more groups than fit into a token, through the whole of it.

Entra ID and Microsoft Graph are one server that answers as their documents say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.authd.idp.entra_server import FOREIGN, GROUPS, OURS, OVERAGE, PARTNER, EntraServer, running_entra
from tests.harness.browser import Answer, Browser
from tests.harness.stack import Stack, start_stack
from tests.stories.installation import EVERYONE
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
# Groups that could not be had are asked for again after a minute; beyond it, the poll, nginx' cache and a busy machine.
ASKED_AGAIN_WITHIN_SECONDS = 100.0


def of_claim(name: str, value: str) -> dict[str, Any]:
    return {"oidc": {"claim_name": name, "claim_value": value, "identity_provider_id": "entra"}}


def admit(**rules: Any) -> list[dict[str, Any]]:
    return [{"name": "Ours", "decision": "allow", **rules}]


OUTSIDE, INSIDE = "ffffffff-0000-4000-8000-000000000000", GROUPS[200]
APPLICATIONS = [
    {"id": "open", "domains": ["open.test"], "policies": EVERYONE},
    {"id": "ours", "domains": ["ours.test"], "policies": admit(include=[of_claim("tid", OURS)])},
    {"id": "group", "domains": ["group.test"], "policies": admit(include=[of_claim("groups", INSIDE)])},
    {
        "id": "others",
        "domains": ["others.test"],
        "policies": admit(include=[{"everyone": True}], exclude=[of_claim("groups", OUTSIDE)]),
    },
]
KNOWN = {"open.test": 200, "ours.test": 200, "group.test": 200, "others.test": 200}
UNKNOWN = KNOWN | {"group.test": 403, "others.test": 403}


@pytest.fixture(scope="module")
def server() -> Iterator[EntraServer]:
    with running_entra() as started:
        yield started


@pytest.fixture
def entra(server: EntraServer) -> EntraServer:
    server.claims, server.graph = {}, None
    return server


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, server: EntraServer) -> Iterator[Stack]:
    entry = {"id": "entra", "type": "oidc", "name": "Microsoft", "client_id": "authd", "claims": ["tid"]}
    entry |= {"issuer": f"{server.url}/organizations/v2.0", "allowed_tenants": [OURS, PARTNER]}
    entry |= {"scopes": ["openid", "email", "offline_access", "User.Read"], "graph_url": server.url}
    settings = {"identity_providers": [entry], "workers": 2}
    with start_stack(tmp_path_factory.mktemp("entra"), applications=APPLICATIONS, settings=settings) as started:
        yield started


def log_in(stack: Stack, entra: EntraServer) -> tuple[Browser, Answer]:
    browser = stack.browser()
    answer = browser.visit(stack.url("open.test"))
    assert answer.location.startswith(f"{entra.url}/organizations/oauth2/v2.0/authorize?")
    callback = requests.get(answer.location, allow_redirects=False, timeout=10).headers["Location"]
    return browser, browser.visit(callback)


def statuses(stack: Stack, browser: Browser) -> dict[str, int]:
    return {host: browser.visit(stack.url(host)).status for host in KNOWN}


def test_tenants_that_are_named_get_in_and_are_told_apart(stack: Stack, entra: EntraServer) -> None:
    for tenant, status in ((OURS, 200), (PARTNER, 403)):
        entra.claims = {"tid": tenant, "iss": entra.issuer(tenant)}
        browser, page = log_in(stack, entra)
        assert page.status == 200
        assert browser.visit(stack.url("ours.test")).status == status


def test_another_tenant_is_told_that_it_may_not(stack: Stack, entra: EntraServer) -> None:
    entra.claims = {"tid": FOREIGN, "iss": entra.issuer(FOREIGN)}

    browser, page = log_in(stack, entra)

    assert page.status == 400
    assert "your organisation is not one of those that may log in here" in page.text
    assert stack.events("login.failed")[-1]["reason"] == "tenant_not_allowed"
    assert browser.visit(stack.url("open.test")).location.startswith(entra.url), "and is not logged in"


def test_groups_that_do_not_fit_into_the_token_count(stack: Stack, entra: EntraServer) -> None:
    entra.claims = OVERAGE

    browser, page = log_in(stack, entra)

    assert page.status == 200
    assert statuses(stack, browser) == KNOWN


def test_nobody_gets_in_by_groups_that_nobody_knows_and_an_outage_passes_by_itself(
    stack: Stack, entra: EntraServer
) -> None:
    entra.claims, entra.graph = OVERAGE, lambda query: (503, {})
    browser, page = log_in(stack, entra)
    assert page.status == 200
    assert statuses(stack, browser) == UNKNOWN
    assert stack.events("provider.groups_elsewhere")[-1]["cause"] == "http_status"

    entra.graph = None

    wait_until(lambda: statuses(stack, browser) == KNOWN, "asked again", ASKED_AGAIN_WITHIN_SECONDS)
    assert "graph-token" not in stack.log_text


def test_a_tenant_that_is_taken_off_the_list_is_out_within_two_seconds(stack: Stack, entra: EntraServer) -> None:
    browsers = {}
    for tenant in (OURS, PARTNER):
        entra.claims = {"tid": tenant, "iss": entra.issuer(tenant)}
        browsers[tenant], page = log_in(stack, entra)
        assert page.status == 200
    (provider,) = stack.config["identity_providers"]

    def ask(tenant: str) -> int:
        return browsers[tenant].request(stack.url("open.test")).status

    for tenants, expected in (([OURS], 302), ([OURS, PARTNER], 200)):
        stack.write_config(identity_providers=[provider | {"allowed_tenants": tenants}])
        before = len(stack.events("config.loaded"))
        stack.reload()
        wait_until(lambda before=before: len(stack.events("config.loaded")) >= before + 2, "both workers have read it")
        took = wait_until(lambda expected=expected: ask(PARTNER) == expected, f"{tenants}: {expected}")
        assert took < 2
        assert ask(OURS) == 200
        if expected == 302:
            assert browsers[PARTNER].visit(stack.url("open.test")).location.startswith(entra.url), "no session is left"
