"""Rules on countries: the edge's word, the database's, and what becomes of those whom neither knows."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from authd.config import parse_config
from authd.countries import Countries
from authd.errors import ConfigError
from authd.model import Facts, Outcome
from authd.policy.decide import decide
from authd.policy.index import build_index
from tests.authd.policy.samples import create_person
from tests.harness.countries import write_countries

GERMAN, FRENCH, UNKNOWN = "192.0.2.7", "198.51.100.7", "10.0.0.1"
EVERYONE: dict[str, Any] = {"include": [{"everyone": True}]}


def outcome_of(
    tmp_path: Path, *policies: dict[str, Any], ip: str, country: str = "", is_logged_in: bool = True
) -> Outcome:
    database = write_countries(tmp_path / "c.mmdb")
    text = f"team_domain: auth.example.com\ngeo_database: {database}\n"
    text += "applications:\n- id: app\n  domains: [a.example.com]\n"
    written = [{"name": f"P{number}", **policy} for number, policy in enumerate(policies)]
    config = parse_config(f"{text}  policies: {written}", source="test", base_dir=tmp_path)
    application = build_index(config, Countries(database).find).get_application("app")
    person = create_person(email="jane@example.com") if is_logged_in else None
    return decide(application, Facts(ip_address(ip), person, country)).outcome


@pytest.mark.parametrize(
    ("ip", "country", "outcome"),
    [
        (GERMAN, "", Outcome.ALLOW),
        (FRENCH, "", Outcome.DENY),
        (UNKNOWN, "", Outcome.DENY),
        (UNKNOWN, "DE", Outcome.ALLOW),
        # The edge sees the visitor; the address may be the edge's own.
        (GERMAN, "FR", Outcome.DENY),
        (GERMAN, "T1", Outcome.DENY),
    ],
)
def test_an_allow_for_a_country_admits_from_there_alone(
    tmp_path: Path, ip: str, country: str, outcome: Outcome
) -> None:
    allow = {"decision": "allow", "include": [{"geo": "DE"}]}

    assert outcome_of(tmp_path, allow, ip=ip, country=country) is outcome


@pytest.mark.parametrize(
    ("ip", "country", "outcome"),
    [
        (GERMAN, "", Outcome.DENY),
        (FRENCH, "", Outcome.ALLOW),
        (UNKNOWN, "", Outcome.DENY),
        (FRENCH, "T1", Outcome.DENY),
    ],
)
@pytest.mark.parametrize("is_exclusion", [True, False])
def test_nobody_escapes_an_exclusion_or_a_denial_by_hiding_where_they_are(
    tmp_path: Path, ip: str, country: str, outcome: Outcome, is_exclusion: bool
) -> None:
    allow = {"decision": "allow", **EVERYONE}
    deny = {"decision": "deny", "include": [{"geo": {"country_code": "DE"}}]}
    policies = [{**allow, "exclude": [{"geo": "DE"}]}] if is_exclusion else [deny, allow]

    assert outcome_of(tmp_path, *policies, ip=ip, country=country) is outcome


def test_tor_can_be_named(tmp_path: Path) -> None:
    deny = {"decision": "deny", "include": [{"geo": "T1"}]}
    allow = {"decision": "allow", **EVERYONE}

    assert outcome_of(tmp_path, deny, allow, ip=GERMAN, country="T1") is Outcome.DENY
    assert outcome_of(tmp_path, deny, allow, ip=GERMAN) is Outcome.ALLOW


def test_a_bypass_for_a_country_opens_without_a_login_from_there_alone(tmp_path: Path) -> None:
    bypass = {"decision": "bypass", "include": [{"geo": "DE"}]}

    assert outcome_of(tmp_path, bypass, ip=GERMAN, is_logged_in=False) is Outcome.BYPASS
    assert outcome_of(tmp_path, bypass, ip=UNKNOWN, is_logged_in=False) is Outcome.DENY


@pytest.mark.parametrize(
    ("settings", "rule", "sentence"),
    [
        ("", "{geo: DE}", "set geo_database or country_header"),
        ("country_header: CF-IPCountry", "{geo: UK}", "did you mean GB?"),
        ("country_header: CF-IPCountry", "{geo: DEU}", "is no country's code"),
        ("country_header: CF-IPCountry", "{geo: NO_}", "is no country's code"),
        ("geo_database: missing.mmdb", "{geo: DE}", "cannot be read: No such file"),
        ("geo_database: bad.mmdb", "{geo: DE}", "MaxMind's format"),
        ("country_header: CF-IPCountry\nedge_variable: $edge_ok", "{geo: DE}", "without the $"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, settings: str, rule: str, sentence: str) -> None:
    (tmp_path / "bad.mmdb").write_text("<html>")
    policy = f"{{name: P, decision: allow, include: [{rule}]}}"
    applications = f"[{{id: a, domains: [b.example.com], policies: [{policy}]}}]"
    text = f"team_domain: a.example.com\n{settings}\napplications: {applications}"

    with pytest.raises(ConfigError) as raised:
        parse_config(text, source="test", base_dir=tmp_path)

    assert sentence in str(raised.value)


def test_norway_is_a_country(tmp_path: Path) -> None:
    """YAML 1.1 read `NO` as false."""
    policy = "{name: P, decision: allow, include: [{geo: NO}]}"
    text = "team_domain: a.example.com\ncountry_header: CF-IPCountry\n"
    text += f"applications: [{{id: a, domains: [b.example.com], policies: [{policy}]}}]"

    assert parse_config(text, source="test", base_dir=tmp_path).applications
