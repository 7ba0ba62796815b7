"""The same code against a provider that nobody here wrote: npm's certified `oidc-provider`, with PKCE demanded."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from authd.errors import ProviderError, ProviderRefusedError
from authd.model import Identity
from tests.authd.idp.logins import REDIRECT_URI, make_settings, make_worker
from tests.harness.idp import IdentityProvider, Person, start_identity_provider

SECRET = "s3cret+with%signs-and-40-characters-or-more"
GRANTS = ["authorization_code", "refresh_token"]
CLIENTS = (
    {"client_id": "confidential", "client_secret": SECRET, "redirect_uris": [REDIRECT_URI], "grant_types": GRANTS},
    {"client_id": "public", "token_endpoint_auth_method": "none", "redirect_uris": [REDIRECT_URI]},
)
ALICE = Person(
    account="alice",
    claims={"email": "alice@example.com", "email_verified": True, "groups": ["engineers"], "department": "research"},
    amr=("pwd", "otp"),
)
MALLORY = Person(account="mallory", claims={"email": "ceo@example.com", "email_verified": False})


@pytest.fixture(scope="module", params=[("RS256", False), ("ES256", True), ("PS512", False)], ids=str)
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    algorithm, claims_in_id_token = request.param
    with start_identity_provider(
        tmp_path_factory.mktemp("certified"),
        people=[ALICE, MALLORY],
        clients=CLIENTS,
        algorithm=algorithm,
        claims_in_id_token=claims_in_id_token,
    ) as started:
        yield started


async def log_in(provider: IdentityProvider, account: str | None, *, secret: str | None = SECRET) -> Identity:
    settings = make_settings(
        provider.issuer,
        client_id="confidential" if secret else "public",
        scopes=["openid", "email", "profile", "groups"],
    )
    worker = make_worker(settings, client_secret=secret)
    try:
        url = await worker.begin(state="state", nonce="n-1", code_verifier="v" * 43, prompt=None)
        step = provider.cancel if account is None else lambda url: provider.log_in(url, account)
        callback = await asyncio.to_thread(step, url)
        query = callback.partition("?")[2]
        return (await worker.finish(query, nonce="n-1", code_verifier="v" * 43)).identity
    finally:
        worker.close()


@pytest.mark.parametrize("secret", [SECRET, None], ids=["confidential", "public"])
async def test_alice_logs_in(provider: IdentityProvider, secret: str | None) -> None:
    identity = await log_in(provider, "alice", secret=secret)
    assert identity.provider_subject == "alice"
    assert identity.email == "alice@example.com"
    assert identity.groups == ("engineers",)
    assert identity.auth_methods == ("pwd", "otp")


async def test_an_address_that_was_not_verified_is_nobodys(provider: IdentityProvider) -> None:
    identity = await log_in(provider, "mallory")
    assert identity.email is None
    assert identity.unverified_email == "ceo@example.com"


async def test_cancelling_is_a_refusal(provider: IdentityProvider) -> None:
    with pytest.raises(ProviderRefusedError) as refusal:
        await log_in(provider, None)
    assert refusal.value.cause == "access_denied"


async def test_a_refresh_says_again_who_it_is_and_a_spent_token_is_refused(provider: IdentityProvider) -> None:
    scopes = ["openid", "email", "profile", "groups", "offline_access"]
    worker = make_worker(make_settings(provider.issuer, client_id="confidential", scopes=scopes), client_secret=SECRET)
    url = await worker.begin(state="state", nonce="n-1", code_verifier="v" * 43, prompt=None)
    callback = await asyncio.to_thread(lambda: provider.log_in(url, "alice"))
    first = await worker.finish(callback.partition("?")[2], nonce="n-1", code_verifier="v" * 43)
    assert first.refresh_token
    assert first.id_token

    second = await worker.refresh(first.identity, first.refresh_token)

    assert second.identity == first.identity
    assert second.refresh_token not in (None, first.refresh_token), "this provider rotates"
    somebody_else = replace(first.identity, provider_subject="mallory")
    with pytest.raises(ProviderError):
        await worker.refresh(somebody_else, second.refresh_token or "")
    with pytest.raises(ProviderRefusedError) as refusal:
        await worker.refresh(first.identity, first.refresh_token)
    assert refusal.value.cause == "invalid_grant"
    worker.close()
