import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest

from authd.config import OidcConfig
from authd.errors import ProviderLiedError, ProviderRefusedError, ProviderUnavailableError
from authd.idp import OidcProvider, create_provider
from authd.idp.identities import derive_subject
from tests.authd.idp.logins import REDIRECT_URI, RefetchBudget, changed, log_in, visit
from tests.idp_server import ALICE, CLIENT_ID, CLIENT_SECRET, FakeProvider

StartWorker = Callable[..., OidcProvider]


async def test_a_login_ends_in_an_identity(idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker) -> None:
    before = int(time.time())
    identity = await log_in(start_worker(settings))
    assert identity.subject == derive_subject(idp.issuer, "alice-1")
    assert identity.provider_id == "corp"
    assert identity.provider_subject == "alice-1"
    assert identity.email == identity.unverified_email == "alice@example.com"
    assert identity.name == "Alice Example"
    assert identity.groups == ("engineers", "staff")
    assert identity.auth_methods == ("pwd", "otp")
    assert identity.claims == {"department": "research"}
    assert before <= identity.authenticated_at <= time.time()


async def test_the_browser_is_sent_with_everything_that_binds_the_answer(worker: OidcProvider) -> None:
    url = await worker.begin(state="st&te", nonce="n+nce", code_verifier="v" * 43, prompt="login")
    query = parse_qs(urlsplit(url).query)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
    assert query == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": [REDIRECT_URI],
        "scope": ["openid email profile"],
        "state": ["st&te"],
        "nonce": ["n+nce"],
        "prompt": ["login"],
        "code_challenge": [challenge],
        "code_challenge_method": ["S256"],
    }
    assert "v" * 43 not in url


async def test_the_secret_travels_form_encoded_in_the_header(idp: FakeProvider, worker: OidcProvider) -> None:
    """RFC 6749 2.3.1; a "+" or "%" in a secret else fails at providers that go by the book."""
    await log_in(worker)
    request = idp.token_requests[-1]
    pair = base64.b64decode(request["authorization"].removeprefix("Basic ")).decode()
    assert pair == f"{CLIENT_ID}:{quote_plus(CLIENT_SECRET)}"
    assert "client_secret" not in request


async def test_the_secret_travels_in_the_body_where_only_that_is_taken(idp: FakeProvider, worker: OidcProvider) -> None:
    idp.misbehave = {"secret-in-body"}
    await log_in(worker)
    assert idp.token_requests[-1]["authorization"] == ""


async def test_a_public_client_sends_no_secret(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    idp.misbehave = {"public-client"}
    identity = await log_in(start_worker(settings, client_secret=None))
    assert identity.email == "alice@example.com"


async def test_a_wrong_secret_is_named_as_such(settings: OidcConfig, start_worker: StartWorker) -> None:
    with pytest.raises(ProviderRefusedError, match="client_id and client secret") as refusal:
        await log_in(start_worker(settings, client_secret="mistyped"))
    assert refusal.value.cause == "invalid_client"
    assert "mistyped" not in str(refusal.value)


async def test_claims_that_only_userinfo_knows_are_asked_for(idp: FakeProvider, worker: OidcProvider) -> None:
    idp.misbehave = {"scope-userinfo-claims"}
    identity = await log_in(worker)
    assert identity.email == "alice@example.com"
    assert identity.groups == ("engineers", "staff")
    assert identity.claims == {"department": "research"}
    assert idp.counts["/userinfo"] == 1


async def test_userinfo_is_left_alone_when_the_id_token_says_it_all(idp: FakeProvider, worker: OidcProvider) -> None:
    await log_in(worker)
    assert idp.counts["/userinfo"] == 0


async def test_signed_userinfo_is_verified_and_read(idp: FakeProvider, worker: OidcProvider) -> None:
    idp.misbehave = {"scope-userinfo-claims", "userinfo-signed"}
    assert (await log_in(worker)).email == "alice@example.com"


@pytest.mark.parametrize(
    ("misbehaviour", "cause"),
    [
        ("userinfo-invalid-sub", "userinfo_subject"),
        ("userinfo-signed-other-client", "userinfo_parties"),
        ("userinfo-array", "userinfo_malformed"),
        ("userinfo-html-200", "userinfo_malformed"),
        ("userinfo-redirect", "http_status"),
    ],
)
async def test_userinfo_that_lies_ends_the_login(
    idp: FakeProvider, worker: OidcProvider, misbehaviour: str, cause: str
) -> None:
    idp.misbehave = {"scope-userinfo-claims", misbehaviour}
    with pytest.raises(ProviderLiedError) as lie:
        await log_in(worker)
    assert lie.value.cause == cause


async def test_two_logins_at_once_do_not_swap_people(idp: FakeProvider, worker: OidcProvider) -> None:
    """CVE-2026-33544: the verifier was a field of the shared object."""

    async def attempt(nonce: str, verifier: str) -> str:
        return await worker.begin(state=nonce, nonce=nonce, code_verifier=verifier, prompt=None)

    urls = [await attempt(f"nonce-{number}", f"verifier-{number}" * 5) for number in range(10)]
    queries = [await asyncio.to_thread(visit, url) for url in urls]
    people = await asyncio.gather(
        *(
            worker.finish(query, nonce=f"nonce-{number}", code_verifier=f"verifier-{number}" * 5)
            for number, query in enumerate(queries)
        )
    )
    assert {person.identity.email for person in people} == {ALICE["email"]}
    for verifier, nonce in [("verifier-1" * 5, "nonce-0"), ("verifier-0" * 5, "nonce-1")]:
        query = await asyncio.to_thread(visit, await attempt("nonce-0", "verifier-0" * 5))
        with pytest.raises((ProviderRefusedError, ProviderLiedError)):
            await worker.finish(query, nonce=nonce, code_verifier=verifier)


async def test_a_code_opens_one_login_and_no_second(worker: OidcProvider) -> None:
    url = await worker.begin(state="s", nonce="n", code_verifier="v" * 43, prompt=None)
    query = await asyncio.to_thread(visit, url)
    await worker.finish(query, nonce="n", code_verifier="v" * 43)
    with pytest.raises(ProviderRefusedError) as refusal:
        await worker.finish(query, nonce="n", code_verifier="v" * 43)
    assert refusal.value.cause == "invalid_grant"


async def test_the_provider_is_not_needed_to_start(settings: OidcConfig) -> None:
    nowhere = changed(settings, issuer="http://127.0.0.1:1")
    worker = create_provider(
        nowhere,
        client_secret=None,
        redirect_uri=REDIRECT_URI,
        clock=time.time,
        may_refetch=RefetchBudget(),
    )
    with pytest.raises(ProviderUnavailableError) as outage:
        await worker.begin(state="s", nonce="n", code_verifier="v" * 43, prompt=None)
    assert (outage.value.provider_id, outage.value.cause) == ("corp", "unreachable")
    worker.close()


async def test_a_provider_that_a_reload_replaced_says_so(worker: OidcProvider) -> None:
    url = await worker.begin(state="s", nonce="n", code_verifier="v" * 43, prompt=None)
    query = await asyncio.to_thread(visit, url)
    worker.close()
    with pytest.raises(ProviderUnavailableError, match="just replaced"):
        await worker.finish(query, nonce="n", code_verifier="v" * 43)


@pytest.mark.parametrize(("offset", "told"), [(0, 0), (120, 1), (-120, 1)])
async def test_f17_a_clock_that_differs_from_the_provider_s_is_told(
    settings: OidcConfig, start_worker: StartWorker, offset: int, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    worker = start_worker(settings, clock=lambda: time.time() + offset)
    await worker.begin(state="s", nonce="n", code_verifier="v" * 64, prompt=None)
    assert caplog.messages.count("provider.clock_differs") == told
