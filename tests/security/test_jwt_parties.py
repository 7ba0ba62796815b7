"""J15, J16, J17, J25: a token opens what it was issued for, and no other kind of token opens anything."""

from typing import Any

import pytest

from authd.errors import TokenError
from authd.jose import parse_unverified_token
from tests.forge import forge_token, rsa_key
from tests.security.token_targets import AUDIENCE, CLAIMS, ISSUER, OURS, our_tokens, refusal_of

OTHER = "b" * 64


def with_claims(**changes: Any) -> str:
    return OURS.sign(payload={name: value for name, value in (CLAIMS | changes).items() if value is not ...})


@pytest.mark.parametrize(
    "audience",
    [
        [],
        "",
        None,
        ...,
        OTHER,
        [OTHER],
        [AUDIENCE, OTHER],
        [OTHER, AUDIENCE],
        [AUDIENCE, AUDIENCE],
        [AUDIENCE, 1],
        [[AUDIENCE]],
        f"{AUDIENCE} {OTHER}",
        AUDIENCE.upper(),
        [AUDIENCE.upper()],
        AUDIENCE[:-1],
        AUDIENCE + "\u0000",
        {AUDIENCE: 1},
        {"0": AUDIENCE},
        True,
        ["*"],
        [ISSUER],
        [str(number) for number in range(500)],
    ],
)
def test_j15_the_audience_is_exactly_this_application(audience: object) -> None:
    assert refusal_of(OURS, with_claims(aud=audience)) == "token_audience"


@pytest.mark.parametrize(
    "issuer",
    [
        [ISSUER],
        "https",
        "https://auth.example.co",
        ISSUER + "/",
        ISSUER.upper(),
        "https://auth.example.com.evil.test",
        "http://auth.example.com",
        "auth.example.com",
        ...,
        None,
        1,
        "",
    ],
)
def test_j16_the_issuer_is_ours_to_the_letter(issuer: object) -> None:
    """CVE-2024-53861: a substring of the issuer was enough."""
    assert refusal_of(OURS, with_claims(iss=issuer)) == "token_issuer"


@pytest.mark.parametrize("name", ["sub", "identity_nonce"])
@pytest.mark.parametrize("value", [..., None, 7, True, ["alice"], {"a": 1}])
def test_j17_a_token_that_names_nobody_is_malformed(name: str, value: object) -> None:
    assert refusal_of(OURS, with_claims(**{name: value})) == "token_malformed"


@pytest.mark.parametrize("kind", ["org", "APP", "app ", "", None, ..., ["app"], True, "meta", "refresh", "logout"])
def test_j25_another_kind_of_our_own_tokens_opens_no_application(kind: object) -> None:
    assert refusal_of(OURS, with_claims(type=kind)) == "token_type"


def test_j25_an_application_token_is_no_session_on_the_team_host() -> None:
    for audience in (AUDIENCE, ISSUER):
        with pytest.raises(TokenError) as refusal:
            our_tokens().verify_organisation_token(parse_unverified_token(with_claims(aud=[audience])))
        assert refusal.value.code == "token_type"


def test_j25_a_token_of_staging_with_the_same_key_id_is_a_forgery() -> None:
    text = forge_token(OURS.header, CLAIMS, rsa_key("staging"), "RS256")
    assert refusal_of(OURS, text) == "token_signature"


def test_j25_an_id_token_of_a_provider_is_nothing_to_us() -> None:
    claims = {"iss": "https://idp.example.com", "aud": "authd", "sub": "alice-1", "nonce": "n"} | {
        name: CLAIMS[name] for name in ("iat", "exp")
    }
    text = forge_token(OURS.header | {"kid": "theirs"}, claims, rsa_key("provider-1"), "RS256")
    assert refusal_of(OURS, text) == "token_key_unknown"


@pytest.mark.parametrize("text", ["c2VjcmV0", "client-id.access", "a.b.c", "Bearer x", "null", "{}"])
def test_j25_what_is_no_token_at_all_is_malformed(text: str) -> None:
    assert refusal_of(OURS, text) == "token_malformed"
