import logging
from typing import Any

import pytest

from authd.config import OidcConfig
from authd.idp.identities import build_identity, derive_subject, lacks_claims
from authd.model import Identity
from tests.authd.idp.logins import changed, log_in, make_settings
from tests.idp_server import FakeProvider

SETTINGS = make_settings("https://idp.example.com")


def identity_of(*sources: dict[str, Any], settings: OidcConfig = SETTINGS) -> Identity:
    return build_identity(settings, provider_subject="alice-1", sources=sources, now=1_800_000_000.9)


def test_a_person_is_the_issuer_and_the_subject_and_not_the_address() -> None:
    """A vector, so that nobody changes it unseen: every `sub` that applications know depends on it."""
    assert derive_subject("https://idp.example.com", "alice-1") == "f1568fe8-562b-58b4-89b7-83779999b695"
    assert identity_of({"email": "a@example.com"}).subject == identity_of({"email": "b@example.com"}).subject
    other = changed(SETTINGS, issuer="https://idp.example.com/")
    assert identity_of({}, settings=other).subject != identity_of({}).subject


@pytest.mark.parametrize("verdict", [False, "false", "true", "True", 0, 1, "", None, [], [True], {"a": True}])
@pytest.mark.parametrize("assumed", [False, True])
def test_only_json_true_verifies_an_address(verdict: object, assumed: bool) -> None:
    """CVE-2026-55076: the string "false" counted as verified. A setting does not outweigh a provider's no."""
    settings = changed(SETTINGS, assume_email_verified=assumed)
    identity = identity_of({"email": "alice@example.com", "email_verified": verdict}, settings=settings)
    assert identity.email is None
    assert identity.unverified_email == "alice@example.com"


def test_silence_verifies_an_address_only_where_the_operator_says_so() -> None:
    claims = {"email": "alice@example.com"}
    assert identity_of(claims).email is None
    assert identity_of(claims, settings=changed(SETTINGS, assume_email_verified=True)).email == "alice@example.com"


def test_a_no_from_either_source_outweighs_a_yes() -> None:
    yes = {"email": "alice@example.com", "email_verified": True}
    no = {"email": "alice@example.com", "email_verified": False}
    assert identity_of(yes, no).email is None
    assert identity_of(no, yes).email is None


def test_userinfo_may_verify_the_address_of_the_id_token_but_not_another_one() -> None:
    claims = {"email": "alice@example.com"}
    assert identity_of(claims, {"email": "Alice@example.com", "email_verified": True}).email == "alice@example.com"
    assert identity_of(claims, {"email": "mallory@example.com", "email_verified": True}).email is None


def test_email_verified_says_nothing_about_another_claim() -> None:
    settings = changed(SETTINGS, email_claim="upn")
    claims = {"upn": "alice@corp.test", "email": "mallory@evil.com", "email_verified": True}
    assert identity_of(claims, settings=settings).email is None
    assert identity_of(claims | {"email": "alice@corp.test"}, settings=settings).email == "alice@corp.test"
    assumed = changed(settings, assume_email_verified=True)
    assert identity_of({"upn": "alice@corp.test"}, settings=assumed).email == "alice@corp.test"


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("a@CORP.TEST", "a@corp.test"),
        ("A@corp.test", "a@corp.test"),
        ("a@evil.com@corp.test", None),
        ('"a@corp.test"@evil.com', None),
        ("a@corp.test,b@evil.com", None),
        (" a@corp.test", None),
        ("a@corp.test\n", None),
        ("a@corp.test\x00", None),
        ("a@ｃorp.test", None),
        ("a@\u017forp.test", None),
        ("a@corp.test" + "x" * 10_000, None),
        (["a@corp.test"], None),
        ({"a": "a@corp.test"}, None),
        (None, None),
        ("", None),
        ("@", None),
        ("a@", None),
    ],
)
def test_a_hostile_address_is_no_address(claim: object, expected: str | None) -> None:
    assert identity_of({"email": claim, "email_verified": True}).email == expected


@pytest.mark.parametrize(
    "claim", ["adm\u0131n@corp.test", "\u017feb@corp.test", "\u212aim@corp.test", "\uff41@corp.test"]
)
def test_letters_that_fold_to_ascii_never_become_ascii(claim: str) -> None:
    """Dotless i, long s, the Kelvin sign, a full-width a: admin, seb, kim and a are other people."""
    email = identity_of({"email": claim, "email_verified": True}).email
    assert email is None or not email.isascii()


@pytest.mark.parametrize("name", ["a\r\nX-Admin: 1", "a\x1b[2J", "a\u2028b", "x" * 300, ["Alice"], "", 7])
def test_a_text_that_could_end_a_line_is_left_out(name: object) -> None:
    identity = identity_of({"name": name, "email": "evil\r\n@example.com"})
    assert identity.name is None
    assert identity.unverified_email is None


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["a", "b", "a"], ("a", "b")),
        ([], ()),
        ([{"name": "a", "id": "1"}, {"name": "b"}], ("a", "b")),
        ([{"id": "admins", "name": "visitors"}], ("visitors",)),
        ([{"id": "admins"}], ()),
        (["a", 1, None, True, ["b"], {"name": 2}, ""], ("a",)),
        (["staff\nadmins", "staff,admins"], ("staff,admins",)),
        (["x" * 513], ()),
        ("admins", ()),
        ("admins,staff", ()),
        ({"admins": True}, ()),
        (True, ()),
        ([["admins"]], ()),
        ([f"group-{number}" for number in range(5000)], tuple(f"group-{number}" for number in range(5000))),
    ],
)
def test_groups_are_a_list_of_names_and_nothing_else(groups: object, expected: tuple[str, ...]) -> None:
    assert identity_of({"groups": groups}).groups == expected


@pytest.mark.parametrize("groups", ["admins,staff", ["a", 1]])
def test_ignored_groups_are_told_to_the_operator(groups: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "authd"):
        identity_of({"groups": groups})
    assert [(record.message, record.fields) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("provider.groups_ignored", {"idp": "corp", "count": 1})
    ]


async def test_groups_that_are_somewhere_else_are_not_fetched_and_told(
    idp: FakeProvider, worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Entra's overage and distributed claims: an address in a token is followed by nobody."""
    idp.misbehave = {"distributed-claims"}
    idp.claims = {"groups": None}
    with caplog.at_level(logging.WARNING, "authd"):
        identity = await log_in(worker)
    assert identity.groups == ()
    assert [record.message for record in caplog.records] == ["provider.groups_elsewhere"]


async def test_five_thousand_groups_come_through_a_real_login(idp: FakeProvider, worker: Any) -> None:
    names = [f"{number:08d}-aaaa-bbbb-cccc-dddddddddddd" for number in range(5000)]
    idp.claims = {"groups": names}
    assert (await log_in(worker)).groups == tuple(names)


@pytest.mark.parametrize(
    ("amr", "expected"),
    [
        (["mfa", "otp"], ("mfa", "otp")),
        ("mfa", ()),
        (["mfa", 1, None], ("mfa",)),
        ({"mfa": 1}, ()),
        (None, ()),
    ],
)
def test_methods_of_login_are_a_list_of_strings(amr: object, expected: tuple[str, ...]) -> None:
    assert identity_of({"amr": amr}).auth_methods == expected


def test_only_claims_that_the_configuration_names_are_kept() -> None:
    claims = {"department": "research", "salary": 1, "roles": ["x", {"y": 1}]}
    settings = changed(SETTINGS, claims=("department", "roles", "absent"))
    assert identity_of(claims, settings=settings).claims == {
        "department": "research",
        "roles": ["x", {"y": 1}],
    }


def test_the_id_token_outweighs_userinfo() -> None:
    identity = identity_of({"name": "Alice", "groups": ["a"]}, {"name": "Mallory", "groups": ["admins"]})
    assert (identity.name, identity.groups) == ("Alice", ("a",))


def test_userinfo_is_wanted_as_long_as_something_is_missing() -> None:
    claims = {"email": "a@example.com", "email_verified": True, "groups": [], "department": "x"}
    assert not lacks_claims(SETTINGS, claims)
    for name in claims:
        assert lacks_claims(SETTINGS, {key: value for key, value in claims.items() if key != name})
    assumed = changed(SETTINGS, assume_email_verified=True)
    assert not lacks_claims(assumed, {key: value for key, value in claims.items() if key != "email_verified"})
