"""Client certificates: whose they are, and what a policy may conclude from them."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from authd.client_certificates import find_client_certificate, parse_name
from authd.errors import ConfigError
from authd.model import ClientCertificate, Facts, Outcome
from tests.authd.house import CONFIG, House, make_request, with_cookie

ISSUER = "CN=Device CA,O=Example"
SETTINGS = """
client_certificate_authorities:
  - {id: devices, issuer_dn: "CN=Device CA,O=Example"}
  - {id: others, issuer_dn: "CN=Other CA"}
"""
APPLICATIONS = """
  - id: probes
    domains: [probes.example.com]
    policies:
      - name: Probe
        decision: non_identity
        include: [{common_name: {common_name: probe-1, authority_id: devices}}]
  - id: devices
    domains: [devices.example.com]
    policies:
      - {name: Staff, decision: allow, include: [{everyone: true}], require: [{certificate: devices}]}
"""


@pytest.fixture
def house(house: House) -> House:
    house.load(SETTINGS + CONFIG + APPLICATIONS)
    return house


@pytest.mark.parametrize(
    ("verify", "fingerprint", "subject", "issuer", "expected"),
    [
        ("SUCCESS", "ab", "CN=probe-1,O=Example", ISSUER, "probe-1"),
        ("SUCCESS", "ab", "O=Example,CN=probe-1", ISSUER, "probe-1"),
        ("SUCCESS", "ab", "CN=a,CN=probe-1", ISSUER, ""),
        ("SUCCESS", "ab", "CN=a+CN=probe-1", ISSUER, ""),
        ("SUCCESS", "ab", r"O=x\,CN=probe-1", ISSUER, ""),
        ("SUCCESS", "ab", r"CN=\C3\84rzte", ISSUER, "Ärzte"),
        ("SUCCESS", "ab", "emailAddress=a@b.c,CN=probe-1", ISSUER, "probe-1"),
        ("SUCCESS", "ab", "CN=probe-1,", ISSUER, None),
        ("SUCCESS", "ab", "", ISSUER, None),
        ("SUCCESS", "ab", "CN=probe-1", "", None),
        ("SUCCESS", "", "CN=probe-1", ISSUER, None),
        ("NONE", "ab", "CN=probe-1", ISSUER, None),
        ("FAILED:certificate has expired", "ab", "CN=probe-1", ISSUER, None),
        ("", "ab", "CN=probe-1", ISSUER, None),
    ],
)
def test_a_certificate_counts_if_nginx_verified_it_and_its_names_can_be_read(
    verify: str, fingerprint: str, subject: str, issuer: str, expected: str | None
) -> None:
    found = find_client_certificate(verify, fingerprint, subject, issuer)

    assert (found.common_name if found else None) == expected


def show(common_name: str, issuer: str = ISSUER) -> Facts:
    certificate = ClientCertificate(parse_name(issuer), common_name, "ab")
    return Facts(make_request().facts.client_ip, certificate=certificate)


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (show("probe-1"), Outcome.ALLOW),
        (show("probe-2"), Outcome.DENY),
        (show("Probe-1"), Outcome.DENY),
        (show(""), Outcome.DENY),
        # The edge's own certificate, or another department's, with the very same name.
        (show("probe-1", "CN=Other CA"), Outcome.DENY),
        (show("probe-1", "CN=Origin Pull"), Outcome.DENY),
        (Facts(make_request().facts.client_ip), Outcome.DENY),
    ],
)
async def test_a_name_counts_by_its_authority_alone(house: House, facts: Facts, outcome: Outcome) -> None:
    verdict = await house.access.check(make_request("https://probes.example.com/", facts=facts))

    assert verdict.decision.outcome is outcome
    if outcome is Outcome.ALLOW:
        claims: dict[str, Any] = jwt.decode(verdict.credential.token or "", options={"verify_signature": False})
        assert (claims["common_name"], claims["sub"]) == ("probe-1", "")


async def test_a_person_needs_the_certificate_that_an_allow_policy_requires(house: House) -> None:
    _, token = await house.open_session("devices")
    request = make_request("https://devices.example.com/", **with_cookie(token))

    assert (await house.access.check(request)).decision.outcome is Outcome.DENY
    for facts, outcome in ((show("laptop-7"), Outcome.ALLOW), (show("laptop-7", "CN=Other CA"), Outcome.DENY)):
        changed = make_request("https://devices.example.com/", facts=facts, **with_cookie(token))
        assert (await house.access.check(changed)).decision.outcome is outcome


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("include: [{certificate: true}]", "must be text"),
        ("include: [{certificate: nobody}]", "unknown certificate authority"),
        ("include: [{common_name: probe-1}]", "must be a mapping"),
        ("include: [{common_name: {common_name: a, authority_id: nobody}}]", "unknown certificate authority"),
    ],
)
def test_a_rule_that_names_no_authority_is_a_mistake(house: House, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        house.load(
            SETTINGS
            + CONFIG
            + "  - {id: x, domains: [x.example.com], policies: [{name: P, decision: non_identity, "
            + text.replace("include: ", "include: ")
            + "}]}\n"
        )
