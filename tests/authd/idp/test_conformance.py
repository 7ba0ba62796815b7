"""Each misbehaviour of the OpenID conformance suite's relying-party plans, and the answer it must get.

The suite lets a client skip the ID token's signature when it came over TLS. We do not.
"""

from collections.abc import Callable

import pytest

from authd.config import OidcConfig
from authd.errors import ProviderError, ProviderLiedError, ProviderRefusedError, ProviderUnavailableError
from authd.idp import OidcProvider
from tests import idp_misbehaviours
from tests.authd.idp.logins import log_in
from tests.idp_server import FakeProvider

LIES = {
    # module: cause
    "idtoken-sig-none": "token_malformed",
    "invalid-sig-rs256": "token_signature",
    "invalid-sig-es256": "token_signature",
    "invalid-sig-hs256": "token_algorithm",
    "embedded-key": "token_signature",
    "swapped-payload": "token_signature",
    "kid-absent-multiple-jwks": "token_key_unknown",
    "unknown-kid": "token_key_unknown",
    "unlisted-algorithm": "token_algorithm",
    "crit-header": "token_malformed",
    "typ-access-token": "id_token_kind",
    "logout-token": "id_token_kind",
    "invalid-aud": "id_token_audience",
    "missing-aud": "id_token_audience",
    "aud-empty": "id_token_audience",
    "aud-mixed": "id_token_audience",
    "aud-object": "id_token_audience",
    "aud-joined": "id_token_audience",
    "multiple-aud": "id_token_audience",
    "foreign-azp": "id_token_audience",
    "invalid-iss": "id_token_issuer",
    "iss-list": "id_token_issuer",
    "missing-iss": "id_token_issuer",
    "missing-sub": "id_token_subject",
    "empty-sub": "id_token_subject",
    "number-sub": "id_token_subject",
    "line-break-sub": "id_token_subject",
    "long-sub": "id_token_subject",
    "missing-iat": "id_token_times",
    "missing-exp": "id_token_times",
    "string-exp": "token_malformed",
    "float-exp": "token_malformed",
    "expired": "id_token_expired",
    "from-the-future": "id_token_not_yet_valid",
    "not-yet": "id_token_not_yet_valid",
    "nonce-invalid": "id_token_nonce",
    "missing-nonce": "id_token_nonce",
    "number-nonce": "id_token_nonce",
    "invalid-athash": "id_token_access_hash",
    "token-without-id-token": "id_token_missing",
    "token-two-id-tokens": "malformed",
    "token-type-mac": "token_type",
    "token-with-400": "http_status",
    "discovery-issuer-mismatch": "metadata_invalid",
    "only-hs256": "metadata_invalid",
    "jwks-duplicate-kid": "key_set_invalid",
    "jwks-oct": "key_set_invalid",
    "jwks-private": "key_set_invalid",
    "jwks-enc-only": "key_set_invalid",
    "jwks-encrypt-ops": "key_set_invalid",
    "jwks-no-kty": "key_set_invalid",
    "jwks-off-curve": "key_set_invalid",
    "jwks-no-keys": "key_set_invalid",
    "jwks-1024-bit": "key_set_invalid",
    "jwks-10000-keys": "too_large",
    "jwks-other-alg": "token_key_unknown",
    "callback-duplicate-code": "callback_invalid",
    "callback-duplicate-state": "callback_invalid",
    "callback-duplicate-iss": "callback_invalid",
    "callback-duplicate-error": "callback_invalid",
    "callback-error-and-code": "callback_invalid",
    "callback-empty": "callback_invalid",
    "callback-wrong-iss": "callback_issuer",
    "callback-missing-iss": "callback_issuer",
}
ACCEPTED = (
    "kid-absent-single-jwks",
    "missing-athash",
    "aud-list",
    "multiple-aud-azp",
    "expired-within-leeway",
    "typ-absent",
    "jwks-with-unknown-kinds",
    "jwks-no-alg",
)
ELSEWHERE = {
    "distributed-claims",
    "callback-access-denied",
    "callback-hostile-error",
    "callback-server-error",
}

StartWorker = Callable[..., OidcProvider]


@pytest.mark.parametrize(("misbehaviour", "cause"), LIES.items())
async def test_a_lie_ends_the_login(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker, misbehaviour: str, cause: str
) -> None:
    idp.misbehave = {misbehaviour}

    async def one_refetch(provider_id: str) -> bool:
        return True

    worker = start_worker(settings, may_refetch=one_refetch)
    with pytest.raises(ProviderLiedError) as lie:
        await log_in(worker)
    assert lie.value.cause == cause
    assert lie.value.provider_id == "corp"
    idp.misbehave = set()
    if not misbehaviour.startswith(("jwks", "discovery")):
        assert (await log_in(worker)).email == "alice@example.com", "one lie must not spoil the next login"


@pytest.mark.parametrize("misbehaviour", ACCEPTED)
async def test_what_only_looks_odd_is_accepted(idp: FakeProvider, worker: OidcProvider, misbehaviour: str) -> None:
    idp.misbehave = {misbehaviour}
    assert (await log_in(worker)).email == "alice@example.com"


def test_every_misbehaviour_has_its_answer() -> None:
    tables = (
        idp_misbehaviours.CLAIMS,
        idp_misbehaviours.SIGNING,
        idp_misbehaviours.JWKS,
        idp_misbehaviours.CALLBACK,
    )
    assert {name for table in tables for name in table} <= LIES.keys() | set(ACCEPTED) | ELSEWHERE


@pytest.mark.parametrize(
    ("misbehaviour", "kind", "cause"),
    [
        ("callback-access-denied", ProviderRefusedError, "access_denied"),
        ("callback-hostile-error", ProviderRefusedError, "unknown_error"),
        ("callback-server-error", ProviderUnavailableError, "server_error"),
    ],
)
async def test_a_refusal_is_told_apart_from_an_outage(
    idp: FakeProvider, worker: OidcProvider, misbehaviour: str, kind: type[ProviderError], cause: str
) -> None:
    idp.misbehave = {misbehaviour}
    with pytest.raises(ProviderError) as refusal:
        await log_in(worker)
    assert type(refusal.value) is kind
    assert refusal.value.cause == cause
    assert str(refusal.value).isprintable()


async def test_a_callback_without_iss_is_fine_where_none_was_promised(idp: FakeProvider, worker: OidcProvider) -> None:
    idp.misbehave = {"iss-not-advertised", "callback-missing-iss"}
    assert (await log_in(worker)).email == "alice@example.com"


async def test_a_wrong_iss_is_refused_even_where_none_was_promised(idp: FakeProvider, worker: OidcProvider) -> None:
    idp.misbehave = {"iss-not-advertised", "callback-wrong-iss"}
    with pytest.raises(ProviderLiedError) as lie:
        await log_in(worker)
    assert lie.value.cause == "callback_issuer"
    assert idp.counts["/token"] == 0, "the code must not reach a token endpoint"


async def test_no_error_holds_a_code_a_token_or_the_secret(idp: FakeProvider, worker: OidcProvider) -> None:
    for misbehaviour in ("invalid-sig-rs256", "nonce-invalid", "token-type-mac", "token-two-id-tokens"):
        idp.misbehave = {misbehaviour}
        with pytest.raises(ProviderLiedError) as lie:
            await log_in(worker)
        request = idp.token_requests[-1]
        for secret in (request["code"], request["code_verifier"], request["authorization"], "eyJ"):
            assert secret not in str(lie.value)
            assert secret not in repr(lie.value.__context__)
