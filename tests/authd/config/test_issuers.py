"""Applications that only verify: what they need, and what makes no sense beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from authd.config import parse_config
from authd.config.readers import ALGORITHMS
from authd.jose.key_sets import ALGORITHMS as JOSE_ALGORITHMS
from tests.authd.config.samples import PROVIDER, application, find_mistakes, find_only_mistake, parse, parse_values

TEAM = "https://myteam.cloudflareaccess.com"
AUD = "a" * 64


def verifying(**settings: Any) -> dict[str, Any]:
    return application(issuer=TEAM, aud=AUD, **settings)


def with_rule(rule: Any, decision: str = "allow") -> dict[str, Any]:
    return verifying(policies=[{"name": "P", "decision": decision, "include": [rule]}])


def test_the_keys_are_where_an_edge_publishes_them() -> None:
    (found,) = parse_values(applications=[verifying()]).applications
    assert found.keys_url == f"{TEAM}/cdn-cgi/access/certs"
    (found,) = parse_values(applications=[verifying(certs_url="https://auth.example.com/.access/certs")]).applications
    assert found.keys_url == "https://auth.example.com/.access/certs"


def test_an_origin_needs_no_team_host_and_no_provider() -> None:
    text = f"applications: [{{id: a, domains: [a.example.com], issuer: '{TEAM}', aud: '{AUD}'}}]"
    config = parse(text)
    assert (config.team_domain, config.team_host, config.team_port) == ("", "", None)


@pytest.mark.parametrize(
    "text",
    [
        "workers: 1",
        "applications: []",
        f"applications: [{{id: a, domains: [a.x], issuer: '{TEAM}', aud: '{AUD}'}}, {{id: b, domains: [b.x]}}]",
    ],
)
def test_everybody_else_does(text: str) -> None:
    (mistake,) = find_mistakes(text)
    assert (mistake.key, mistake.message) == ("team_domain", "is missing")


def test_the_tag_is_needed() -> None:
    mistake = find_only_mistake(applications=[application(issuer=TEAM)])
    assert mistake.key == "applications[0].aud"


@pytest.mark.parametrize(
    ("key", "value"),
    [("session_duration", "1h"), ("allowed_idps", ["corp"]), ("auto_redirect_to_identity", True)],
)
def test_what_belongs_to_the_edge_is_a_mistake_here(key: str, value: Any) -> None:
    mistake = find_only_mistake(identity_providers=[PROVIDER], applications=[verifying(**{key: value})])
    assert mistake.key == f"applications[0].{key}"
    assert mistake.message == "has no meaning beside issuer: people log in at the edge"


def test_what_belongs_to_an_issuer_is_a_mistake_without_one() -> None:
    mistake = find_only_mistake(applications=[application(certs_url="https://auth.example.com/certs")])
    assert (mistake.key, mistake.message) == ("applications[0].certs_url", "has no meaning without issuer")


@pytest.mark.parametrize(
    "issuer",
    [
        "http://myteam.cloudflareaccess.com",
        TEAM + "/",
        TEAM + "/path",
        TEAM + ":443",
        "https://MyTeam.cloudflareaccess.com",
        "myteam.cloudflareaccess.com",
        "https://user@myteam.cloudflareaccess.com",
        TEAM + "?a=b",
    ],
)
def test_the_issuer_is_what_the_tokens_name(issuer: str) -> None:
    mistake = find_only_mistake(applications=[application(issuer=issuer, aud=AUD)])
    assert mistake.key == "applications[0].issuer"


def test_the_authorities_are_read_with_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate\n")
    for name, message in (("missing.pem", "cannot be read"), ("empty.pem", "holds no certificates in PEM")):
        (mistake,) = find_mistakes(
            "team_domain: a.example.com\n"
            f"applications: [{{id: a, domains: [a.x], issuer: '{TEAM}', aud: '{AUD}', ca_file: {name}}}]",
            tmp_path,
        )
        assert mistake.key == "applications[0].ca_file"
        assert mistake.message.startswith(message)


def test_applications_of_one_issuer_agree_about_its_keys() -> None:
    other = verifying(id="other", domains=["other.example.com"], certs_url="https://auth.example.com/certs")
    mistake = find_only_mistake(applications=[verifying(), other])
    assert mistake.key == "applications[1].certs_url"
    assert mistake.message == "differs from applications[0].certs_url, which has the same issuer"


def test_one_tag_may_have_several_applications() -> None:
    assert parse_values(applications=[verifying(), verifying(id="other", domains=["other.example.com"])])


@pytest.mark.parametrize(
    "rule",
    [
        {"login_method": TEAM},
        {"oidc": {"claim_name": "groups", "claim_value": "admins", "identity_provider_id": TEAM}},
        {"auth_method": "mfa"},
    ],
)
def test_rules_name_the_issuer_as_the_provider(rule: Any) -> None:
    assert parse_values(applications=[with_rule(rule)])


@pytest.mark.parametrize(
    "rule",
    [
        {"login_method": "corp"},
        {"oidc": {"claim_name": "groups", "claim_value": "admins", "identity_provider_id": "corp"}},
    ],
)
def test_rules_about_providers_that_nobody_comes_from_are_mistakes(rule: Any) -> None:
    mistake = find_only_mistake(identity_providers=[PROVIDER], applications=[with_rule(rule)])
    assert mistake.allowed == TEAM


@pytest.mark.parametrize("decision", ["allow", "deny", "bypass"])
def test_rules_about_machines_stand_in_non_identity_policies(decision: str) -> None:
    assert parse_values(applications=[with_rule({"token_issuer": TEAM}, "non_identity")])
    mistake = find_only_mistake(applications=[with_rule({"token_issuer": TEAM}, decision)])
    assert "is about machines" in mistake.message


@pytest.mark.parametrize("rule", [{"any_valid_service_token": True}, {"service_token": "a" * 32 + ".access"}])
def test_service_tokens_count_at_the_edge(rule: Any) -> None:
    mistake = find_only_mistake(applications=[with_rule(rule, "non_identity")])
    assert mistake.message == "counts at the edge, and never at an application that only verifies"


def test_an_unknown_token_issuer_is_a_mistake() -> None:
    claim = {"claim_name": "sub", "claim_value": "x", "token_issuer_id": "github"}
    for rule in ({"token_issuer": "github"}, {"token_claim": claim}):
        mistake = find_only_mistake(applications=[with_rule(rule, "non_identity")])
        assert mistake.message == "unknown token issuer"


def test_a_path_bound_application_reads_the_edge_s_cookie() -> None:
    from authd.policy.index import build_index

    config = parse_config(
        f"applications: [{{id: a, domains: [a.x/p], issuer: '{TEAM}', aud: '{AUD}'}}]", source="t", base_dir=Path()
    )
    assert build_index(config).get_application("a").cookie_name == "CF_Authorization"


ISSUER = {"id": "github", "issuer": "https://token.actions.githubusercontent.com", "audiences": ["deploy"]}


def test_an_algorithm_with_a_shared_secret_is_a_mistake_at_start() -> None:
    """J30."""
    assert set(ALGORITHMS) == JOSE_ALGORITHMS
    for algorithm in ("HS256", "none", "RS1", "", "rs256", 1, None):
        mistake = find_only_mistake(token_issuers=[ISSUER | {"algorithms": ["RS256", algorithm]}])
        assert mistake.key == "token_issuers[0].algorithms[1]"


@pytest.mark.parametrize("key", ["audiences", "algorithms", "types"])
def test_a_list_that_would_admit_nothing_is_a_mistake(key: str) -> None:
    assert find_only_mistake(token_issuers=[ISSUER | {key: []}]).key == f"token_issuers[0].{key}"


def test_the_audience_has_no_default() -> None:
    without = {name: value for name, value in ISSUER.items() if name != "audiences"}
    mistake = find_only_mistake(token_issuers=[without])
    assert (mistake.key, mistake.message) == ("token_issuers[0].audiences", "is missing")


def test_an_issuer_is_one_thing_only() -> None:
    ours = find_only_mistake(token_issuers=[ISSUER | {"issuer": "https://auth.example.com"}])
    assert ours.message == "is this authd itself, whose tokens need no entry"
    edge = find_only_mistake(token_issuers=[ISSUER | {"issuer": TEAM}], applications=[verifying()])
    assert edge.message == "is the edge of applications[0], whose tokens are about people"
    twice = find_only_mistake(token_issuers=[ISSUER, ISSUER | {"id": "again"}])
    assert (twice.key, twice.message) == ("token_issuers[1].issuer", "is the same issuer as token_issuers[0].issuer")


def test_j25_id_tokens_of_logins_can_be_made_no_credentials() -> None:
    provider = {"issuer": PROVIDER["issuer"], "audiences": ["api", PROVIDER["client_id"]]}
    mistake = find_only_mistake(identity_providers=[PROVIDER], token_issuers=[ISSUER | provider])
    assert mistake.key == "token_issuers[0].audiences[1]"


@pytest.mark.parametrize(("make", "wrong"), [(application, TEAM), (verifying, "github")])
def test_rules_about_issuers_from_which_nobody_comes_are_mistakes(make: Any, wrong: str) -> None:
    edge = verifying(id="edge", domains=["edge.example.com"])
    policies = [{"name": "P", "decision": "non_identity", "include": [{"token_issuer": wrong}]}]
    mistake = find_only_mistake(token_issuers=[ISSUER], applications=[edge, make(policies=policies)])
    assert mistake.key == "applications[1].policies[0].include[0].token_issuer"
    assert mistake.message == "names an issuer from which nobody comes to this application"
