"""Login with GitHub, against a real server that answers as GitHub documents it, and wrong on request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from authd.config import parse_config
from authd.config.github import GithubConfig
from authd.errors import ConfigError, ProviderError, ProviderLiedError, ProviderRefusedError, ProviderUnavailableError
from authd.idp.github import GithubProvider
from authd.model import Facts, Identity, Outcome, Vouched
from authd.policy.decide import decide
from authd.policy.index import build_index
from tests.authd.house import make_request
from tests.authd.idp.github_server import CLIENT_ID, CLIENT_SECRET, EMAILS, MONA, GithubServer, running_github

NOW = 1_800_000_000
VERIFIER = "v" * 43


@pytest.fixture
def github() -> Iterator[GithubServer]:
    with running_github() as started:
        yield started


@pytest.fixture
def provider(github: GithubServer) -> Iterator[GithubProvider]:
    config = GithubConfig.model_validate(
        {"id": "hub", "type": "github", "client_id": CLIENT_ID, "client_secret_env": "X", "base_url": github.url}
    )
    made = GithubProvider(
        config,
        client_secret=CLIENT_SECRET,
        redirect_uri="https://auth.example.com/cdn-cgi/access/callback",
        clock=lambda: NOW,
    )
    yield made
    made.close()


async def log_in(github: GithubServer, provider: GithubProvider, verifier: str = VERIFIER) -> Identity:
    return (await log_in_whole(github, provider, verifier)).identity


async def log_in_whole(github: GithubServer, provider: GithubProvider, verifier: str = VERIFIER) -> Vouched:
    url = await provider.begin(state="s", nonce="n", code_verifier=VERIFIER, prompt=None)
    github.challenges.add(parse_qs(urlsplit(url).query)["code_challenge"][0])
    return await provider.finish("code=c&state=s", nonce="n", code_verifier=verifier)


async def test_mona_is_her_number_with_the_address_that_is_primary_and_verified(
    github: GithubServer, provider: GithubProvider
) -> None:
    identity = await log_in(github, provider)

    assert (identity.provider_subject, identity.email, identity.name) == ("583231", "mona@example.com", "Mona Lisa")
    assert identity.groups == ("octo-org", "other", "octo-org/core")
    assert (identity.auth_methods, identity.authenticated_at) == ((), NOW)
    github.answers["user"] = MONA | {"login": "somebody-new", "email": "public@example.com"}
    assert (await log_in(github, provider)).subject == identity.subject, "a login name changes hands"


async def test_the_address_of_the_login_asks_for_what_is_needed(provider: GithubProvider, github: GithubServer) -> None:
    url = urlsplit(await provider.begin(state="s", nonce="n", code_verifier=VERIFIER, prompt="select_account"))
    query = parse_qs(url.query)

    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{github.url}/login/oauth/authorize"
    assert query["scope"] == ["read:user user:email read:org"]
    assert (query["state"], query["prompt"], query["code_challenge_method"]) == (["s"], ["select_account"], ["S256"])
    assert VERIFIER not in url.query


@pytest.mark.parametrize(
    "emails",
    [
        [],
        [EMAILS[0]],
        [{**EMAILS[1], "verified": False}],
        [{**EMAILS[1], "verified": "true"}],
        [{**EMAILS[1], "primary": False}],
        [EMAILS[1], {**EMAILS[1], "email": "ceo@example.com"}],
        [{**EMAILS[1], "email": "not an address"}],
        [{**EMAILS[1], "email": None}],
    ],
)
async def test_any_other_address_is_nobodys(
    github: GithubServer, provider: GithubProvider, emails: list[dict[str, Any]]
) -> None:
    github.answers["user/emails"] = emails

    assert (await log_in(github, provider)).email is None


async def test_lists_are_read_page_by_page_and_end(github: GithubServer, provider: GithubProvider) -> None:
    github.answers["user/orgs"] = [{"login": f"org-{number}"} for number in range(250)]

    assert len([group for group in (await log_in(github, provider)).groups if group.startswith("org-")]) == 250
    assert github.asked.count("user/orgs") == 3
    github.answers["user/orgs"] = [{"login": f"org-{number}"} for number in range(5000)]
    identity = await log_in(github, provider)
    assert (len(identity.groups), identity.groups_are_complete) == (2001, False)


async def test_a_token_without_the_organisations_scope_lets_no_rule_on_them_match(
    github: GithubServer, provider: GithubProvider
) -> None:
    """GitHub then lists public memberships only, or none."""
    github.token_answer["scope"] = "read:user"
    github.answers |= {"user/orgs": [], "user/teams": []}

    vouched = await log_in_whole(github, provider)

    assert (vouched.identity.groups, vouched.identity.groups_are_complete) == ((), False)
    assert vouched.refresh_token is not None
    refreshed = await provider.refresh(vouched.identity, vouched.refresh_token)
    assert not refreshed.identity.groups_are_complete, "an exclusion must not lapse an hour later"


@pytest.mark.parametrize("path", ["user/orgs", "user/teams"])
async def test_what_github_leaves_out_is_known_to_be_left_out(
    github: GithubServer, provider: GithubProvider, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Organisations with a login of their own (SAML) that the person has not been through: REST API, Authenticating."""
    github.headers[path] = {"X-GitHub-SSO": "partial-results; organizations=21955855,20582480"}

    assert not (await log_in(github, provider)).groups_are_complete
    assert [record.message for record in caplog.records] == ["provider.groups_ignored"]


async def test_a_refresh_asks_with_the_token_of_the_login_and_tells_what_changed(
    github: GithubServer, provider: GithubProvider
) -> None:
    vouched = await log_in_whole(github, provider)
    assert vouched.refresh_token == "gho_token"
    assert "gho_token" not in repr(vouched)
    known = replace(vouched.identity, authenticated_at=1, evaluations={"e": (True, 5)})
    github.answers |= {"user/orgs": [{"login": "other"}], "user/teams": []}

    refreshed = await provider.refresh(known, "gho_token")

    assert refreshed.identity == replace(known, groups=("other",))
    assert refreshed.refresh_token is None, "the one of the login goes on"


async def test_a_token_that_ends_by_itself_is_not_kept(github: GithubServer, provider: GithubProvider) -> None:
    """Those of a GitHub App: after eight hours, GitHub would seem not to know the person any more."""
    github.token_answer |= {"expires_in": 28800, "refresh_token": "ghr_token"}

    assert (await log_in_whole(github, provider)).refresh_token is None


@pytest.mark.parametrize(
    ("change", "error", "cause"),
    [
        (lambda github: github.people.clear(), ProviderRefusedError, "token_revoked"),
        (lambda github: github.suspended.add("gho_token"), ProviderRefusedError, "suspended"),
        (
            lambda github: github.answers.update(user=MONA | {"suspended_at": "2026-11-28T10:00:00Z"}),
            ProviderRefusedError,
            "suspended",
        ),
        (lambda github: github.answers.update(user=MONA | {"id": 5}), ProviderRefusedError, "other_subject"),
        (lambda github: github.status.update({"user": 503}), ProviderUnavailableError, "http_status"),
        (lambda github: github.status.update({"user/orgs": 429}), ProviderUnavailableError, "http_status"),
        (lambda github: github.status.update({"user/teams": 403}), ProviderLiedError, "http_status"),
    ],
)
async def test_only_a_word_about_the_person_is_one(
    github: GithubServer, provider: GithubProvider, change: Any, error: type[ProviderError], cause: str
) -> None:
    identity = await log_in(github, provider)
    change(github)

    with pytest.raises(error) as raised:
        await provider.refresh(identity, "gho_token")

    assert raised.value.cause == cause
    assert "gho_token" not in str(raised.value)


@pytest.mark.parametrize(
    "message", ["API rate limit exceeded for user ID 1.", "You have exceeded a secondary rate limit."]
)
async def test_a_rate_limit_is_an_outage_although_github_says_403(
    github: GithubServer, provider: GithubProvider, message: str
) -> None:
    identity = await log_in(github, provider)
    github.status["user"], github.message = 403, message

    with pytest.raises(ProviderUnavailableError):
        await provider.refresh(identity, "gho_token")


@pytest.mark.parametrize(
    ("wrong", "error", "cause"),
    [
        ({"token": {"error": "bad_verification_code"}}, ProviderRefusedError, "bad_verification_code"),
        ({"token": {"token_type": "bearer"}}, ProviderLiedError, "token_missing"),
        ({"token": {"access_token": "x", "token_type": "mac"}}, ProviderLiedError, "token_missing"),
        ({"token": b"<html>"}, ProviderLiedError, "malformed"),
        ({"user": {"login": "mona"}}, ProviderLiedError, "user_missing"),
        ({"user": {**MONA, "id": "583231"}}, ProviderLiedError, "user_missing"),
        ({"user": {**MONA, "id": True}}, ProviderLiedError, "user_missing"),
        ({"user": b'{"id": 1, "id": 2}'}, ProviderLiedError, "malformed"),
        ({"user/orgs": {"login": "octo-org"}}, ProviderLiedError, "malformed"),
        ({"user/teams": ["core"]}, ProviderLiedError, "malformed"),
        ({"status": {"user": 403}}, ProviderLiedError, "http_status"),
        ({"status": {"user/emails": 404}}, ProviderLiedError, "http_status"),
        ({"status": {"user/orgs": 429}}, ProviderUnavailableError, "http_status"),
        ({"status": {"user": 502}}, ProviderUnavailableError, "http_status"),
        ({"status": {"user": 302}}, ProviderLiedError, "http_status"),
    ],
)
async def test_whatever_is_wrong_lets_nobody_in(
    github: GithubServer, provider: GithubProvider, wrong: dict[str, Any], error: type[ProviderError], cause: str
) -> None:
    for name, answer in wrong.items():
        if name == "status":
            github.status = answer
        elif name == "token":
            github.token_answer = answer
        else:
            github.answers[name] = answer

    with pytest.raises(error) as raised:
        await log_in(github, provider)

    assert raised.value.cause == cause
    assert CLIENT_SECRET not in str(raised.value)


async def test_a_code_of_another_beginning_and_a_refusal_are_refused(
    github: GithubServer, provider: GithubProvider
) -> None:
    with pytest.raises(ProviderRefusedError, match="bad_verification_code"):
        await log_in(github, provider, verifier="w" * 43)
    with pytest.raises(ProviderRefusedError, match="access_denied"):
        await provider.finish("error=access_denied&state=s", nonce="n", code_verifier=VERIFIER)
    with pytest.raises(ProviderLiedError):
        await provider.finish("code=a&code=b&state=s", nonce="n", code_verifier=VERIFIER)


def decide_for(groups: tuple[str, ...], rule: dict[str, str], provider_id: str = "hub") -> Outcome:
    config = {
        "team_domain": "auth.example.com",
        "identity_providers": [
            {"id": "hub", "type": "github", "client_id": "x", "client_secret_env": "X"},
            {"id": "corp", "type": "oidc", "issuer": "https://idp.example.com", "client_id": "x"},
        ],
        "applications": [
            {
                "id": "a",
                "domains": ["a.example.com"],
                "policies": [{"name": "P", "decision": "allow", "include": [{"github-organization": rule}]}],
            }
        ],
    }
    index = build_index(parse_config(json.dumps(config), source="test", base_dir=Path("/nonexistent")))
    identity = Identity("s", provider_id, "1", None, None, None, groups, ())
    return decide(index.applications[0], Facts(make_request().facts.client_ip, identity)).outcome


@pytest.mark.parametrize(
    ("groups", "rule", "provider_id", "outcome"),
    [
        (("octo-org",), {"name": "Octo-Org"}, "hub", Outcome.ALLOW),
        (("octo-org/core",), {"name": "octo-org"}, "hub", Outcome.DENY),
        (("octo-org", "octo-org/core"), {"name": "octo-org", "team": "Core"}, "hub", Outcome.ALLOW),
        (("octo-org", "other/core"), {"name": "octo-org", "team": "core"}, "hub", Outcome.DENY),
        # A group of that name that another provider gives is worth nothing.
        (("octo-org",), {"name": "octo-org"}, "corp", Outcome.DENY),
    ],
)
def test_an_organisation_or_one_of_its_teams_is_admitted(
    groups: tuple[str, ...], rule: dict[str, str], provider_id: str, outcome: Outcome
) -> None:
    assert decide_for(groups, {**rule, "identity_provider_id": "hub"}, provider_id) is outcome


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"name": "octo-org", "identity_provider_id": "corp"}, "is no provider of type github"),
        ({"name": "octo-org", "identity_provider_id": "nobody"}, "unknown identity provider"),
        ({"name": "octo org", "identity_provider_id": "hub"}, "is no login of an organisation"),
        ({"name": "octo-org"}, "is missing"),
        ({"name": "octo-org", "teem": "x", "identity_provider_id": "hub"}, "unknown key"),
    ],
)
def test_mistakes_in_such_a_rule_are_told(rule: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        decide_for((), rule)
