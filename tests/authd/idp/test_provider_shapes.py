"""What well-known providers send, each with its documented oddity, and what becomes of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from authd.config.oidc import OidcConfig
from authd.errors import ConfigError
from authd.idp.identities import build_identity, lacks_claims
from authd.model import Identity
from tests.authd.config.samples import parse_values
from tests.authd.idp.logins import make_settings, make_worker
from tests.idp_server import running_provider

NOW = 1_800_000_000


def identify(sources: list[dict[str, Any]], **settings: Any) -> Identity:
    return build_identity(read(**settings), provider_subject="s", sources=sources, now=NOW)


def read(**settings: Any) -> OidcConfig:
    return make_settings("https://idp.example.com", **settings)


def test_google_says_hd_and_nothing_of_groups() -> None:
    claims = {"sub": "1", "hd": "example.com", "email": "jane@example.com", "email_verified": True}

    identity = identify([claims], claims=["hd"])

    assert (identity.email, identity.groups, dict(identity.claims)) == (
        "jane@example.com",
        (),
        {"hd": "example.com"},
    )


@pytest.mark.parametrize(("assumed", "email"), [(False, None), (True, "jane@example.com")])
def test_entra_says_nothing_of_verification_and_points_elsewhere_for_many_groups(
    assumed: bool, email: str | None
) -> None:
    overage = {
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/t/users/u/getMemberObjects"}},
    }

    identity = identify([{"email": "jane@example.com", **overage}], assume_email_verified=assumed)

    assert (identity.email, identity.groups, identity.groups_are_complete) == (email, (), False)


@pytest.mark.parametrize(
    ("claims", "groups", "are_complete"),
    [
        ({"groups": []}, (), True),
        ({}, (), True),
        ({"hasgroups": True}, (), False),
        ({"_claim_names": {"groups": "src1"}, "groups": ["a"]}, ("a",), True),
        ({"_claim_names": {"photo": "src1"}}, (), True),
        ({"groups": "a,b"}, (), False),
        ({"groups": ["a", 5]}, ("a",), False),
        ({"groups": [{"name": "a"}, {"id": "b"}]}, ("a",), False),
    ],
)
def test_it_is_known_whether_these_are_all_groups(
    claims: dict[str, Any], groups: tuple[str, ...], are_complete: bool
) -> None:
    identity = identify([claims])
    assert (identity.groups, identity.groups_are_complete) == (groups, are_complete)
    # What Entra says of its groups is nothing about another claim.
    assert identify([{"hasgroups": True}], groups_claim="roles").groups_are_complete


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"xms_edov": True}, "jane@example.com"),
        ({"xms_edov": False}, None),
        ({"xms_edov": "1"}, None),
        ({}, None),
        ({"email_verified": True}, None),
        ({"xms_edov": True, "email_verified": False}, None),
    ],
)
def test_entra_has_a_claim_of_its_own_for_addresses(claims: dict[str, Any], email: str | None) -> None:
    identity = identify([{"email": "jane@example.com", **claims}], email_verified_claim="xms_edov")
    assert identity.email == email


def test_okta_and_gitlab_tell_groups_in_userinfo_alone() -> None:
    token, userinfo = {"sub": "s", "email": "j@example.com", "email_verified": True}, {"groups": ["app-engineers"]}

    assert lacks_claims(read(), token)
    assert identify([token, userinfo]).groups == ("app-engineers",)
    assert identify([{"groups_direct": ["a/b"]}], groups_claim="groups_direct").groups == ("a/b",)


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"realm_access": {"roles": ["engineer", "uma_authorization"]}}, ("engineer", "uma_authorization")),
        ({"realm_access": {"roles": "engineer"}}, ()),
        ({"realm_access": ["roles"]}, ()),
        ({"realm_access": {}}, ()),
        # A claim of that very name is what the operator may have meant.
        ({"realm_access.roles": ["own"], "realm_access": {"roles": ["other"]}}, ("own",)),
    ],
)
def test_keycloak_nests_its_roles(claims: dict[str, Any], groups: tuple[str, ...]) -> None:
    assert identify([claims], groups_claim="realm_access.roles").groups == groups
    assert lacks_claims(read(groups_claim="realm_access.roles", assume_email_verified=True), {"email": "x"})


def test_keycloak_paths_and_objects_are_taken_as_they_are_named() -> None:
    assert identify([{"groups": ["/eng/core"]}]).groups == ("/eng/core",)
    assert identify([{"groups": [{"id": "1", "name": "core"}, {"id": "core"}]}]).groups == ("core",)


def test_authentik_says_no_and_no_assumption_outweighs_it() -> None:
    claims = {"email": "jane@example.com", "email_verified": False, "groups": ["engineers"]}

    identity = identify([claims], assume_email_verified=True)

    assert (identity.email, identity.unverified_email, identity.groups) == (None, "jane@example.com", ("engineers",))


async def test_parameters_of_the_providers_own_reach_its_login_page() -> None:
    with running_provider() as idp:
        settings = make_settings(idp.issuer, authorization_parameters={"hd": "example.com", "prompt": "consent"})
        worker = make_worker(settings)
        plain = await worker.begin(state="s", nonce="n", code_verifier="v" * 43, prompt=None)
        asked = await worker.begin(state="s", nonce="n", code_verifier="v" * 43, prompt="select_account")
        worker.close()

    query = parse_qs(urlsplit(plain).query)
    assert (query["hd"], query["prompt"], query["state"]) == (["example.com"], ["consent"], ["s"])
    assert parse_qs(urlsplit(asked).query)["prompt"] == ["select_account"]


@pytest.mark.parametrize("name", ["state", "nonce", "redirect_uri", "client_id", "scope", "request", "code_challenge"])
def test_what_the_login_is_made_of_cannot_be_replaced(name: str) -> None:
    provider = {"id": "a", "type": "oidc", "issuer": "https://idp.example.com", "client_id": "x"}
    with pytest.raises(ConfigError, match="sets itself"):
        parse_values(identity_providers=[{**provider, "authorization_parameters": {name: "x"}}])
