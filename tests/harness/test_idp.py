"""What other tests count on: the provider demands what authd must send, and says what its people are."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
import requests

from tests.harness.idp import IdentityProvider, IdentityProviderError, Person, start_identity_provider

CALLBACK = "https://auth.localhost:8443/cdn-cgi/access/callback"
CLIENT = {"client_id": "authd", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
VERIFIER = "a-verifier-that-is-longer-than-the-forty-three-characters-of-rfc-7636"
ALICE = Person(
    account="alice",
    claims={
        "email": "alice@example.com",
        "email_verified": True,
        "groups": ["engineers"],
        "department": "R&D",
    },
    amr=("pwd", "mfa"),
)
MALLORY = Person(account="mallory", claims={"email": "mallory@example.org", "email_verified": False})


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with start_identity_provider(tmp_path_factory.mktemp("idp"), people=[ALICE, MALLORY], clients=[CLIENT]) as started:
        yield started


def authorization_url(provider: IdentityProvider, **changes: str) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
    parameters = {
        "client_id": "authd",
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "openid email profile groups",
        "state": "state-1",
        "nonce": "nonce-1",
        "code_challenge": challenge.decode(),
        "code_challenge_method": "S256",
    }
    return f"{provider.issuer}/auth?{urlencode({k: v for k, v in (parameters | changes).items() if v})}"


def redeem(provider: IdentityProvider, callback_url: str, verifier: str = VERIFIER) -> requests.Response:
    code = parse_qs(urlsplit(callback_url).query)["code"][0]
    form = {"grant_type": "authorization_code", "client_id": "authd", "redirect_uri": CALLBACK}
    return requests.post(f"{provider.issuer}/token", data={**form, "code": code, "code_verifier": verifier}, timeout=5)


def subject_of(provider: IdentityProvider, callback_url: str) -> str:
    token = redeem(provider, callback_url).json()["id_token"]
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])


def test_a_person_logs_in_and_the_id_token_and_userinfo_say_who_it_is(provider: IdentityProvider) -> None:
    callback_url = provider.log_in(authorization_url(provider), "alice")
    assert callback_url.startswith(f"{CALLBACK}?")
    query = parse_qs(urlsplit(callback_url).query)
    assert (query["state"], query["iss"]) == (["state-1"], [provider.issuer])

    tokens = redeem(provider, callback_url).json()
    keys = jwt.PyJWKSet.from_dict(requests.get(f"{provider.issuer}/jwks", timeout=5).json())
    key = keys[jwt.get_unverified_header(tokens["id_token"])["kid"]]
    claims = jwt.decode(tokens["id_token"], key, algorithms=["RS256"], audience="authd", issuer=provider.issuer)
    assert (claims["sub"], claims["nonce"], claims["amr"]) == ("alice", "nonce-1", ["pwd", "mfa"])
    assert "email" not in claims

    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    userinfo = requests.get(f"{provider.issuer}/me", headers=bearer, timeout=5).json()
    assert userinfo == {"sub": "alice", **ALICE.claims}


def test_a_code_without_its_verifier_is_refused(provider: IdentityProvider) -> None:
    callback_url = provider.log_in(authorization_url(provider), "alice")
    assert redeem(provider, callback_url, verifier="b" * 43).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_a_login_without_pkce_s256_is_refused(provider: IdentityProvider, changes: dict[str, str], error: str) -> None:
    callback_url = provider.log_in(authorization_url(provider, **changes), "alice")
    assert parse_qs(urlsplit(callback_url).query)["error"] == [error]


def test_a_redirect_uri_that_is_not_registered_is_refused_on_the_provider_s_own_page(
    provider: IdentityProvider,
) -> None:
    with pytest.raises(IdentityProviderError, match="redirect_uri"):
        provider.log_in(authorization_url(provider, redirect_uri=f"{CALLBACK}/more"), "alice")


def test_cancel_comes_back_as_access_denied(provider: IdentityProvider) -> None:
    query = parse_qs(urlsplit(provider.cancel(authorization_url(provider))).query)
    assert query["error"] == ["access_denied"]


def test_a_browser_that_logged_in_is_remembered_until_another_account_is_asked_for(
    provider: IdentityProvider,
) -> None:
    browser = requests.Session()
    provider.log_in(authorization_url(provider), "alice", session=browser)
    remembered = provider.log_in(authorization_url(provider), "nobody is asked", session=browser)
    assert subject_of(provider, remembered) == "alice"
    other = provider.log_in(authorization_url(provider, prompt="select_account"), "mallory", session=browser)
    assert subject_of(provider, other) == "mallory"


def test_a_provider_that_always_asks_remembers_nobody(tmp_path: Path) -> None:
    with start_identity_provider(tmp_path, people=[ALICE, MALLORY], clients=[CLIENT], always_ask=True) as started:
        browser = requests.Session()
        for account in ("alice", "mallory", "mallory"):
            callback_url = started.log_in(authorization_url(started), account, session=browser)
            assert subject_of(started, callback_url) == account


def test_two_logins_of_one_browser_at_once_both_succeed(provider: IdentityProvider) -> None:
    browser = requests.Session()
    pages = [browser.get(authorization_url(provider, state=state), timeout=5).url for state in ("tab-1", "tab-2")]
    ends = []
    for page in pages:
        answer = browser.post(page, data={"account": "alice"}, allow_redirects=False, timeout=5)
        ends.append(browser.get(answer.headers["Location"], allow_redirects=False, timeout=5))
    states = [parse_qs(urlsplit(end.headers["Location"]).query)["state"] for end in ends]
    assert states == [["tab-1"], ["tab-2"]]


@pytest.mark.parametrize("algorithm", ["PS512", "ES384"])
def test_it_signs_with_the_algorithm_that_was_asked_for_and_can_put_the_address_in_the_token(
    tmp_path: Path, algorithm: str
) -> None:
    with start_identity_provider(
        tmp_path, people=[ALICE], clients=[CLIENT], algorithm=algorithm, claims_in_id_token=True
    ) as started:
        token = redeem(started, started.log_in(authorization_url(started), "alice")).json()["id_token"]
        process = started.process
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert jwt.decode(token, options={"verify_signature": False})["email"] == "alice@example.com"
    assert process.poll() is not None


def test_a_port_that_is_taken_is_named_in_the_error(provider: IdentityProvider, tmp_path: Path) -> None:
    port = urlsplit(provider.issuer).port
    assert port is not None
    with (
        pytest.raises(IdentityProviderError, match=f"EADDRINUSE.*{port}"),
        start_identity_provider(tmp_path, people=[ALICE], clients=[], port=port),
    ):
        pytest.fail("it started all the same")
