"""Identity providers are of several kinds: which keys each has, and what is said about those of another."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from authd.config import OidcConfig, OneTimePinConfig, render_json_schema
from authd.providers import load_client_secret
from tests.authd.config.samples import PROVIDER, application_with_rule, find_mistakes_in_values, find_only_mistake
from tests.authd.config.samples import parse_values as parse

MAIL = {"server": "smtp.example.com", "sender": "login@example.com"}
PIN = {"id": "guests", "type": "onetimepin", "mail": MAIL}


def find_mistake_of_mail(**changes: Any) -> Any:
    return find_only_mistake(identity_providers=[PIN | {"mail": MAIL | changes}])


def test_each_kind_is_read_by_its_type() -> None:
    corp, guests = parse(identity_providers=[PROVIDER, PIN]).identity_providers

    assert isinstance(corp, OidcConfig)
    assert isinstance(guests, OneTimePinConfig)
    assert (guests.display_name, guests.mail.host, guests.mail.port) == ("guests", "smtp.example.com", 587)
    assert guests.code_rate_limit.window_seconds == 600


@pytest.mark.parametrize(("encryption", "port"), [("starttls", 587), ("tls", 465)])
def test_the_port_follows_from_the_encryption(encryption: str, port: int) -> None:
    for server, expected in (("smtp.example.com", port), ("smtp.example.com:2525", 2525)):
        mail = MAIL | {"server": server, "encryption": encryption}
        (guests,) = parse(identity_providers=[PIN | {"mail": mail}]).identity_providers
        assert isinstance(guests, OneTimePinConfig)
        assert guests.mail.port == expected


def test_an_unknown_type_is_one_mistake_that_names_those_there_are() -> None:
    mistake = find_only_mistake(identity_providers=[PIN | {"type": "onetimepn"}])

    assert (mistake.line, mistake.key) == (1, "identity_providers[0].type")
    assert mistake.value == "onetimepn"
    assert mistake.allowed == "oidc, github, onetimepin, did you mean onetimepin?"


def test_a_missing_type_is_one_mistake_too() -> None:
    mistake = find_only_mistake(identity_providers=[{"id": "guests", "mail": MAIL}])

    assert (mistake.key, mistake.message) == ("identity_providers[0].type", "is missing")
    assert mistake.allowed == "oidc, github, onetimepin"


def test_a_key_of_another_kind_is_said_to_be_one() -> None:
    mistake = find_only_mistake(identity_providers=[PIN | {"issuer": "https://idp.example.com"}])
    assert (mistake.key, mistake.message) == ("identity_providers[0].issuer", "is a key of type oidc only")

    mistake = find_only_mistake(identity_providers=[PROVIDER | {"mail": MAIL}])
    assert (mistake.key, mistake.message) == ("identity_providers[0].mail", "is a key of type onetimepin only")


def test_an_unknown_key_is_unknown_with_a_hint() -> None:
    mistake = find_only_mistake(identity_providers=[PIN | {"subjct": "x"}])
    assert mistake.message == "unknown key"
    assert mistake.allowed.endswith("did you mean subject?")

    mistake = find_mistake_of_mail(pasword_file="x")
    assert (mistake.key, mistake.message) == ("identity_providers[0].mail.pasword_file", "unknown key")
    assert mistake.allowed.endswith("did you mean password_file?")


def test_mistakes_in_several_kinds_are_told_at_once() -> None:
    mistakes = find_mistakes_in_values(
        identity_providers=[
            {"id": "corp", "type": "oidc", "issuer": "http://idp.example.com", "client_id": "authd"},
            {"id": "guests", "type": "onetimepin", "mail": {"sender": "nobody"}},
            {"id": "third", "type": "saml"},
        ],
        groups=[{"name": "g", "include": [{"group": "nobody"}]}],
        applications=[application_with_rule({"login_method": "gests"})],
    )

    assert sorted(mistake.key for mistake in mistakes) == [
        "applications[0].policies[0].include[0].login_method",
        "groups[0].include[0].group",
        "identity_providers[0].issuer",
        "identity_providers[1].mail.sender",
        "identity_providers[1].mail.server",
        "identity_providers[2].type",
    ]


def test_a_provider_of_unknown_type_is_known_to_rules_all_the_same() -> None:
    mistake = find_only_mistake(
        identity_providers=[PIN | {"type": "mail"}], applications=[application_with_rule({"login_method": "guests"})]
    )
    assert mistake.key == "identity_providers[0].type"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"server": "smtp.example.com:0"}, "server"),
        ({"server": "smtp://smtp.example.com"}, "server"),
        ({"sender": "login"}, "sender"),
        ({"sender": "login@example.com\nBcc: x@example.com"}, "sender"),
        ({"sender": "a@example.com, b@example.com"}, "sender"),
        ({"encryption": "ssl"}, "encryption"),
        ({"encryption": "none"}, "encryption"),
        ({"encryption": "none", "server": "localhost:25"}, "encryption"),
        ({"username": "authd"}, "password_file"),
        ({"password_file": "p"}, "username"),
        ({"username": "authd", "password_file": "p", "password_env": "P"}, "password_env"),
    ],
)
def test_mistakes_about_mail(changes: dict[str, str], key: str) -> None:
    assert find_mistake_of_mail(**changes).key == f"identity_providers[0].mail.{key}"


def test_no_encryption_is_for_this_machine_only() -> None:
    mail = MAIL | {"encryption": "none", "server": "127.0.0.1"}
    (guests,) = parse(identity_providers=[PIN | {"mail": mail}]).identity_providers
    assert isinstance(guests, OneTimePinConfig)
    assert guests.mail.port == 25


def test_the_password_comes_from_where_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    mail = MAIL | {"username": "authd", "password_env": "AUTHD_TEST_MAIL_PASSWORD"}
    (guests,) = parse(identity_providers=[PIN | {"mail": mail}]).identity_providers
    monkeypatch.setenv("AUTHD_TEST_MAIL_PASSWORD", "from the environment")

    assert load_client_secret(guests) == "from the environment"


def test_a_rule_on_a_claim_of_a_provider_that_has_none_is_a_mistake() -> None:
    claim = {"claim_name": "groups", "claim_value": "staff", "identity_provider_id": "guests"}
    mistake = find_only_mistake(identity_providers=[PIN], applications=[application_with_rule({"oidc": claim})])

    assert mistake.message == "is a claim that is not kept"
    assert mistake.allowed == "none: providers of type onetimepin have no claims"


@pytest.mark.parametrize(
    ("provider", "is_good"),
    [(PROVIDER, True), (PIN, True), (PIN | {"issuer": "https://x.example"}, False), ({"id": "x"}, False)],
)
def test_editors_know_the_kinds(provider: dict[str, Any], is_good: bool) -> None:
    document = json.loads(json.dumps({"team_domain": "auth.example.com", "identity_providers": [provider]}))
    validator = jsonschema.Draft202012Validator(render_json_schema())

    assert (not list(validator.iter_errors(document))) is is_good


OURS, PARTNER = "8a7d0f5e-1111-4222-8333-444455556666", "9b7d0f5e-1111-4222-8333-444455556666"
SEVERAL = PROVIDER | {"issuer": "https://login.microsoftonline.com/organizations/v2.0", "allowed_tenants": [OURS]}


@pytest.mark.parametrize("word", ["organizations", "common"])
def test_an_issuer_of_several_tenants_stands_beside_those_that_may_come(word: str) -> None:
    issuer = f"https://login.microsoftonline.com/{word}/v2.0"
    parse(identity_providers=[SEVERAL | {"issuer": issuer, "allowed_tenants": [OURS, PARTNER]}])

    mistake = find_only_mistake(identity_providers=[PROVIDER | {"issuer": issuer}])

    assert mistake.key == "identity_providers[0].allowed_tenants"
    assert mistake.message == "is needed: the issuer is that of every tenant in the world"


@pytest.mark.parametrize(
    ("changes", "key", "word"),
    [
        ({"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"}, "issuer", "is a template"),
        ({"issuer": f"https://login.microsoftonline.com/{OURS}/v2.0"}, "issuer", "of one tenant"),
        ({"issuer": "https://idp.example.com"}, "issuer", "of one tenant"),
        ({"allowed_tenants": [OURS, OURS]}, "allowed_tenants", "twice"),
        ({"allowed_tenants": ["example.onmicrosoft.com"]}, "allowed_tenants[0]", "is no id"),
        ({"allowed_tenants": [OURS.upper()]}, "allowed_tenants[0]", "is no id"),
        ({"allowed_tenants": [f"{OURS}/x"]}, "allowed_tenants[0]", "is no id"),
        ({"allowed_tenants": ["*"]}, "allowed_tenants[0]", "is no id"),
        ({"allowed_tenants": ["9188040d-6c67-4c5b-b112-36a304b66dad"]}, "allowed_tenants[0]", "personal accounts"),
        ({"allowed_tenants": [OURS, PARTNER], "assume_email_verified": True}, "assume_email_verified", "of another"),
        ({"graph_url": "http://graph.microsoft.com"}, "graph_url", "must be https"),
        ({"graph_url": "https://graph.microsoft.com", "groups_claim": "roles"}, "graph_url", "groups_claim"),
    ],
)
def test_mistakes_about_tenants(changes: dict[str, Any], key: str, word: str) -> None:
    mistake = find_only_mistake(identity_providers=[SEVERAL | changes])
    assert mistake.key == f"identity_providers[0].{key}"
    assert word in mistake.message
