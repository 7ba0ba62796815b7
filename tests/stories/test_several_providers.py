"""Two identity providers: who is asked which, and that an application's choice of providers is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import Answer, Browser
from tests.harness.idp import IdentityProvider, Person, start_identity_provider
from tests.harness.stack import ALICE, TEAM, Stack, start_stack
from tests.stories.installation import EVERYONE

PAUL = Person("paul", {"email": "paul@partner.example", "email_verified": True})
APPLICATIONS = [
    {"id": "both", "name": "Both", "domains": ["both.test"], "policies": EVERYONE},
    {"id": "partners", "domains": ["partners.test"], "policies": EVERYONE},
    {"id": "staff", "domains": ["staff.test"], "policies": EVERYONE},
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`partner` joins after the start: applications may only name providers that are there."""
    directory = tmp_path_factory.mktemp("providers")
    with start_stack(directory, applications=APPLICATIONS) as running:
        yield running


@pytest.fixture(scope="module")
def partner(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    client = {
        "client_id": "authd-public",
        "token_endpoint_auth_method": "none",
        "redirect_uris": [stack.url(TEAM, "/cdn-cgi/access/callback")],
    }
    directory = tmp_path_factory.mktemp("partner")
    with start_identity_provider(directory, people=[PAUL, ALICE], clients=[client]) as provider:
        entry = {"id": "partner", "type": "oidc", "name": "Partner & Co", "issuer": provider.issuer}
        entry |= {"client_id": "authd-public", "scopes": ["openid", "email", "profile", "groups"]}
        both, partners, staff = APPLICATIONS
        stack.stop_authd()
        stack.write_config(
            identity_providers=[*stack.config["identity_providers"], entry],
            applications=[
                both,
                partners | {"allowed_idps": ["partner"]},
                staff | {"allowed_idps": ["corp"], "auto_redirect_to_identity": True},
            ],
        )
        stack.start_authd()
        yield provider


def choose(stack: Stack, browser: Browser, url: str, name: str) -> Answer:
    """Go to a page and take the chooser's link of that name; the answer that leads to the provider."""
    page = browser.visit(url)
    assert page.status == 200, page.text[:300]
    links = [link["href"] for link in PageOutline(page.text).all("a")]
    names = PageOutline(page.text).get_text("a")
    assert names == "Company login Partner & Co" or names == "Company loginPartner & Co"
    (link,) = [href for href in links if href and href.endswith(f"&idp={name}")]
    return browser.visit(link)


@pytest.mark.parametrize(("name", "account"), [("corp", "alice"), ("partner", "paul")])
def test_with_two_providers_somebody_chooses(stack: Stack, partner: IdentityProvider, name: str, account: str) -> None:
    browser, url = stack.browser(), stack.url("both.test", "/x?y=%26")
    provider = partner if name == "partner" else stack.provider

    answer = choose(stack, browser, url, name)

    assert answer.location.startswith(provider.issuer)
    page = browser.visit(provider.log_in(answer.location, account))
    assert (page.status, page.json()["target"]) == (200, "/x?y=%26")
    assert dict(page.json()["headers"])["X-Authd-User"].startswith(account)


def test_the_chooser_names_application_and_host(stack: Stack, partner: IdentityProvider) -> None:
    page = PageOutline(stack.browser().visit(stack.url("both.test")).text)

    assert page.get_text("h1") == "Log in to Both"
    assert "both.test" in page.get_text("main")


@pytest.mark.parametrize(("host", "is_partners"), [("partners.test", True), ("staff.test", False)])
def test_an_application_with_one_allowed_provider_goes_straight_there(
    stack: Stack, partner: IdentityProvider, host: str, is_partners: bool
) -> None:
    answer = stack.browser().visit(stack.url(host))

    assert answer.location.startswith(partner.issuer if is_partners else stack.provider.issuer)


@pytest.mark.parametrize("wanted", ["corp", "nobody", "", "partner&idp=corp"])
def test_a_provider_that_is_not_allowed_cannot_be_asked_for(
    stack: Stack, partner: IdentityProvider, wanted: str
) -> None:
    browser = stack.browser()
    login = browser.request(stack.url("partners.test")).location

    answer = browser.request(f"{login}&idp={wanted}")

    assert answer.location.startswith(partner.issuer)


def test_a_session_of_a_provider_that_is_not_allowed_is_not_enough(stack: Stack, partner: IdentityProvider) -> None:
    browser = stack.log_in(stack.url("staff.test"), "alice")

    answer = browser.visit(stack.url("partners.test"))

    assert answer.location.startswith(partner.issuer)


def test_two_providers_that_say_the_same_address_are_two_people(stack: Stack, partner: IdentityProvider) -> None:
    subjects = set()
    for name, provider in (("corp", stack.provider), ("partner", partner)):
        browser, url = stack.browser(), stack.url("both.test")
        browser.visit(provider.log_in(choose(stack, browser, url, name).location, "alice"))
        identity = browser.request(stack.url("both.test", "/cdn-cgi/access/get-identity")).json()
        assert identity["email"] == "alice@example.com"
        assert identity["idp"]["id"] == name
        subjects.add(identity["user_uuid"])

    assert len(subjects) == 2


def test_the_answer_of_one_provider_is_not_taken_for_the_others(stack: Stack, partner: IdentityProvider) -> None:
    """Mix-up (RFC 9207): the attempt went to one provider, and the code of another one comes back."""
    browser, url = stack.browser(), stack.url("both.test")
    to_corp = choose(stack, browser, url, "corp").location
    state = to_corp.partition("&state=")[2].partition("&")[0]
    to_partner = choose(stack, browser, url, "partner").location
    callback = partner.log_in(to_partner, "paul")
    foreign_state = callback.partition("state=")[2].partition("&")[0]

    answer = browser.request(callback.replace(foreign_state, state))

    assert answer.status == 400
    assert "could not be trusted" in answer.text
    assert "__Host-authd_team" not in browser.cookies[TEAM]


def test_a_provider_that_is_removed_takes_its_sessions_along(stack: Stack, partner: IdentityProvider) -> None:
    """The last story of this file: the installation goes on with one provider."""
    browser, url = stack.browser(), stack.url("both.test")
    page = browser.visit(partner.log_in(choose(stack, browser, url, "partner").location, "paul"))
    assert page.status == 200

    stack.stop_authd()
    stack.write_config(identity_providers=stack.config["identity_providers"][:1], applications=APPLICATIONS)
    stack.start_authd()

    answer = browser.visit(url)
    assert answer.location.startswith(stack.provider.issuer)
