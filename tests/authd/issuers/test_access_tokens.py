"""A token that a real team would issue is accepted in every variant of reference 2.1 to 2.3; everything else is not."""

from __future__ import annotations

from typing import Any

import pytest

from authd.errors import TokenError
from authd.issuers.access_tokens import Bearer, check_access_header, read_access_token
from authd.jose import parse_unverified_token
from authd.model import Identity, Machine
from tests.authd.issuers.edge_tokens import AUD, MACHINE, META, NOW, ORGANISATION, OTHER_AUD, PERSON, TEAM, sign


def read(claims: dict[str, Any], **changes: Any) -> Bearer:
    whole = {name: value for name, value in (claims | changes).items() if value is not ...}
    return read_access_token(whole, issuer=TEAM, audience=AUD, now=NOW + 60)


def refusal_of(claims: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(TokenError) as refusal:
        read(claims, **changes)
    return refusal.value.code


def test_a_person_is_who_the_edge_says() -> None:
    bearer = read(PERSON)
    assert bearer.machine is None
    assert bearer.identity == Identity(
        subject="7335d417-61da-459d-899c-0a01c76a2f94",
        provider_id=TEAM,
        provider_subject="7335d417-61da-459d-899c-0a01c76a2f94",
        email="alice@example.com",
        unverified_email="Alice@example.com",
        name=None,
        groups=("staff", "admins"),
        auth_methods=(),
        claims=PERSON["custom"],
    )
    assert (bearer.session_id, bearer.expires_at) == ("6ei69kawdKzMIAPF", NOW + 3600)


def test_a_machine_is_its_common_name() -> None:
    name = "88bf3b6d86161464f6509f7219099e57.access"
    assert read(MACHINE) == Bearer(None, Machine(TEAM, name, claims={"common_name": name}), "", NOW + 3601)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": AUD},
        {"aud": [OTHER_AUD, AUD]},
        {"custom": ...},
        {"custom": {}},
        {"custom": {"groups": "not a list"}},
        {"identity_nonce": ...},
        {"policy_id": ..., "country": ..., "h_INTERNAL_DO_NOT_USE": ...},
        {"amr": ["pwd", "mfa"]},
        {"email": ...},
        {"nbf": ...},
        {"device_sessions": {"a": 1}, "anything": [None, {"new": True}]},
        {"iat": NOW + 110, "nbf": NOW + 110},
    ],
    ids=str,
)
def test_what_varies_between_real_tokens_does_not_matter(changes: dict[str, Any]) -> None:
    assert read(PERSON, **changes).identity is not None


@pytest.mark.parametrize("changes", [{"aud": [AUD]}, {"nbf": NOW}, {"service_token_status": True}], ids=str)
def test_a_machine_s_may_vary_too(changes: dict[str, Any]) -> None:
    assert read(MACHINE, **changes).machine is not None


@pytest.mark.parametrize("header", [{"typ": ...}, {"typ": "JWT"}], ids=str)
def test_typ_may_be_missing(header: dict[str, Any]) -> None:
    check_access_header(parse_unverified_token(sign(header=header)))


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": "logout+jwt"}, {"typ": None}, {"typ": ["JWT"]}], ids=str)
def test_another_kind_of_token_is_refused_by_its_typ(header: dict[str, Any]) -> None:
    with pytest.raises(TokenError) as refusal:
        check_access_header(parse_unverified_token(sign(header=header)))
    assert refusal.value.code == "token_type"


@pytest.mark.parametrize(
    "audience",
    [OTHER_AUD, [OTHER_AUD], [], "", None, ..., True, [AUD, 1], [[AUD]], f"{AUD} {OTHER_AUD}", AUD.upper(), {AUD: 1}],
    ids=str,
)
@pytest.mark.parametrize("claims", [PERSON, MACHINE], ids=["person", "machine"])
def test_j15_our_own_tag_is_among_the_audiences(claims: dict[str, Any], audience: object) -> None:
    assert refusal_of(claims, aud=audience) == "token_audience"


@pytest.mark.parametrize("issuer", [TEAM + "/", TEAM.upper(), [TEAM], "https", ..., None, TEAM + ".evil.test"], ids=str)
def test_j16_the_issuer_is_the_team_s_to_the_letter(issuer: object) -> None:
    assert refusal_of(PERSON, iss=issuer) == "token_issuer"


@pytest.mark.parametrize("kind", ["org", "meta", "match", "APP", "", ..., None, ["app"], True], ids=str)
def test_j25_only_application_tokens_open_applications(kind: object) -> None:
    assert refusal_of(PERSON, type=kind) == "token_type"


@pytest.mark.parametrize("claims", [ORGANISATION, META], ids=["global session", "meta"])
def test_j25_the_team_s_other_tokens_open_nothing(claims: dict[str, Any]) -> None:
    assert refusal_of(claims | {"iss": TEAM, "aud": AUD}) == "token_type"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": NOW + 60}, "token_expired"),
        ({"exp": ...}, "token_expired"),
        ({"iat": NOW + 121}, "token_not_yet_valid"),
        ({"nbf": NOW + 121}, "token_not_yet_valid"),
    ],
    ids=str,
)
@pytest.mark.parametrize("claims", [PERSON, MACHINE], ids=["person", "machine"])
def test_j27_times_count_to_the_second_with_a_minute_for_the_future(
    claims: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    assert refusal_of(claims, **changes) == code


@pytest.mark.parametrize("subject", [..., None, 7, ["alice"], "a\r\nX-Admin: 1", "a" * 321, "\u2028"], ids=repr)
def test_j17_a_person_has_a_usable_subject(subject: object) -> None:
    assert refusal_of(PERSON, sub=subject) == "token_malformed"


@pytest.mark.parametrize("name", [..., None, "", 7, ["x"], "a\nb", "a" * 321], ids=repr)
def test_j17_a_machine_has_a_usable_name(name: object) -> None:
    assert refusal_of(MACHINE, common_name=name) == "token_malformed"


def test_j17_nobody_is_a_person_and_a_machine() -> None:
    assert refusal_of(MACHINE, email="alice@example.com") == "token_malformed"
    assert refusal_of(PERSON, sub="") == "token_malformed"


@pytest.mark.parametrize("email", [7, ["a@example.com"], "a@example.com\r\nX-Admin: 1", ""], ids=repr)
def test_j17_an_address_that_is_no_text_is_refused(email: object) -> None:
    assert refusal_of(PERSON, email=email) == "token_malformed"


def test_an_address_that_is_none_decides_nothing() -> None:
    identity = read(PERSON, email="Alice at example.com").identity
    assert identity
    assert (identity.email, identity.unverified_email) == (None, "Alice at example.com")
