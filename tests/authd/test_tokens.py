"""authd's own tokens: what stands in them, and every claim that makes one worthless."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jwt
import pytest

from authd.errors import TokenError
from authd.jose import parse_unverified_token
from authd.keys import ROTATION_SECONDS, Keyring, generate_keyring
from authd.model import Reason
from authd.tokens import CLOCK_LEEWAY_SECONDS, MAX_CUSTOM_BYTES, Tokens
from tests.authd.house import NOW, TEAM, Clock, get_keyring, make_identity, make_session

AUD, ISSUER = "a" * 64, f"https://{TEAM}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(issuer=ISSUER, keyring=get_keyring, clock=clock)


def issue(tokens: Tokens, **changes: Any) -> str:
    return tokens.issue_application_token(
        make_session(**changes), audience=AUD, expires_at=NOW + 3600, policy_id="policy"
    )


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def sign(header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token under our own key with these claims changed; None removes one."""
    key = get_keyring().signing_key(NOW)
    claims = claims_of(issue(Tokens(issuer=ISSUER, keyring=get_keyring, clock=Clock()))) | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key.private_key, algorithm="RS256", headers={"kid": key.key_id, **(header or {})})


def test_a_token_says_whose_session_it_rests_on(tokens: Tokens) -> None:
    verified = tokens.verify_application_token(parse_unverified_token(issue(tokens)), AUD)

    assert (verified.session_id, verified.subject) == ("session-of-alice", "subject-of-alice@example.com")
    assert (verified.audience, verified.expires_at) == (AUD, NOW + 3600)
    assert verified.key_id == get_keyring().signing_key(NOW).key_id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example"}, Reason.TOKEN_ISSUER),
        ({"iss": f"{ISSUER}/"}, Reason.TOKEN_ISSUER),
        ({"iss": None}, Reason.TOKEN_ISSUER),
        ({"type": "org"}, Reason.TOKEN_TYPE),
        ({"type": None}, Reason.TOKEN_TYPE),
        ({"aud": ["b" * 64]}, Reason.TOKEN_AUDIENCE),
        ({"aud": [AUD, "b" * 64]}, Reason.TOKEN_AUDIENCE),
        ({"aud": [AUD, AUD]}, Reason.TOKEN_AUDIENCE),
        ({"aud": []}, Reason.TOKEN_AUDIENCE),
        ({"aud": None}, Reason.TOKEN_AUDIENCE),
        ({"identity_nonce": None}, Reason.TOKEN_MALFORMED),
        ({"identity_nonce": 1}, Reason.TOKEN_MALFORMED),
        ({"sub": None}, Reason.TOKEN_MALFORMED),
        ({"exp": NOW}, Reason.TOKEN_EXPIRED),
        ({"exp": 0}, Reason.TOKEN_EXPIRED),
        ({"exp": None}, Reason.TOKEN_EXPIRED),
        ({"nbf": NOW + CLOCK_LEEWAY_SECONDS + 1}, Reason.TOKEN_NOT_YET_VALID),
        ({"iat": NOW + CLOCK_LEEWAY_SECONDS + 1}, Reason.TOKEN_NOT_YET_VALID),
    ],
)
def test_each_claim_that_is_wrong_makes_a_token_worthless(
    tokens: Tokens, changes: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(TokenError) as caught:
        tokens.verify_application_token(parse_unverified_token(sign(**changes)), AUD)
    assert caught.value.code == reason


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": AUD},
        {"email": None},
        {"nbf": None},
        {"nbf": NOW + CLOCK_LEEWAY_SECONDS},
        {"unknown": [1]},
        {"country": "PL"},
    ],
)
def test_a_token_that_is_right_in_all_that_counts_is_taken(tokens: Tokens, changes: dict[str, Any]) -> None:
    assert (
        tokens.verify_application_token(parse_unverified_token(sign(**changes)), AUD).session_id == "session-of-alice"
    )


def test_a_foreign_key_is_unknown_even_under_our_key_id(tokens: Tokens) -> None:
    foreign = generate_keyring(team_domain=TEAM, now=NOW).keys[0]
    claims = claims_of(issue(tokens))
    for key_id, reason in [
        (foreign.key_id, Reason.TOKEN_KEY_UNKNOWN),
        (get_keyring().keys[0].key_id, Reason.TOKEN_SIGNATURE),
        ("", Reason.TOKEN_KEY_UNKNOWN),
    ]:
        token = jwt.encode(claims, foreign.private_key, algorithm="RS256", headers={"kid": key_id})
        with pytest.raises(TokenError) as caught:
            tokens.verify_application_token(parse_unverified_token(token), AUD)
        assert caught.value.code == reason


def test_the_two_types_are_not_taken_for_each_other(tokens: Tokens) -> None:
    organisation = parse_unverified_token(tokens.issue_organisation_token(make_session()))

    assert tokens.verify_organisation_token(organisation).session_id == "session-of-alice"
    for verify in (
        lambda: tokens.verify_application_token(organisation, ISSUER),
        lambda: tokens.verify_organisation_token(parse_unverified_token(issue(tokens))),
    ):
        with pytest.raises(TokenError) as caught:
            verify()
        assert caught.value.code == Reason.TOKEN_TYPE


def test_a_token_never_outlives_its_session(tokens: Tokens) -> None:
    assert claims_of(issue(tokens, expires_at=NOW + 60))["exp"] == NOW + 60
    assert claims_of(tokens.issue_organisation_token(make_session(expires_at=NOW + 60)))["exp"] == NOW + 60


def test_a_person_without_a_verified_address_has_none_in_the_token(tokens: Tokens) -> None:
    identity = make_identity(None, unverified_email="claimed@example.com")

    assert "email" not in claims_of(issue(tokens, identity=identity))
    assert "claimed@example.com" not in str(claims_of(issue(tokens, identity=identity)))


def test_groups_are_not_in_the_token_and_large_claims_are_left_out(tokens: Tokens) -> None:
    claims = {"department": "R&D", "photo": "x" * 5000, "floor": 3, "note": "y" * 900}
    identity = make_identity(groups=tuple(f"group-{number}" for number in range(500)), claims=claims)

    token = issue(tokens, identity=identity)

    assert claims_of(token)["custom"] == {"department": "R&D", "floor": 3, "note": "y" * 900}
    assert MAX_CUSTOM_BYTES < 1024
    assert len(token) < 3000
    assert "group-1" not in str(claims_of(token))


def test_tokens_of_both_keys_verify_around_a_rotation(tokens: Tokens, clock: Clock) -> None:
    before = issue(tokens, expires_at=NOW + 2 * ROTATION_SECONDS)
    before = tokens.issue_application_token(
        make_session(expires_at=NOW + 2 * ROTATION_SECONDS),
        audience=AUD,
        expires_at=NOW + ROTATION_SECONDS,
        policy_id=None,
    )
    clock.now = NOW - 86400 + ROTATION_SECONDS
    after = tokens.issue_application_token(
        make_session(expires_at=NOW + 2 * ROTATION_SECONDS),
        audience=AUD,
        expires_at=NOW + 2 * ROTATION_SECONDS,
        policy_id=None,
    )

    key_ids = [tokens.verify_application_token(parse_unverified_token(token), AUD).key_id for token in (before, after)]

    assert key_ids == [key.key_id for key in get_keyring().keys]


def test_a_token_that_was_verified_counts_no_more_when_its_key_is_gone(clock: Clock) -> None:
    rings = [get_keyring()]
    tokens = Tokens(issuer=ISSUER, keyring=lambda: rings[-1], clock=clock)
    verified = tokens.verify_application_token(parse_unverified_token(issue(tokens)), AUD)
    assert tokens.still_verifies(verified)

    rings.append(Keyring(get_keyring().keys[1:]))
    assert not tokens.still_verifies(verified)

    rings.append(Keyring((replace(get_keyring().keys[0], verifies_until=NOW),)))
    assert not tokens.still_verifies(verified)
