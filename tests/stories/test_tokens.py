"""Tokens and keys as verifiers written for Cloudflare Access read them: two JOSE libraries, neither of them ours."""

from __future__ import annotations

import re
import time
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from tests.harness.browser import Browser
from tests.harness.stack import TEAM, Stack
from tests.stories.test_login import claims_in

CERTS = "/cdn-cgi/access/certs"
IDENTITY = "/cdn-cgi/access/get-identity"


@pytest.fixture
def certs(stack: Stack) -> dict[str, Any]:
    document: dict[str, Any] = stack.browser().request(stack.url(TEAM, CERTS)).json()
    return document


@pytest.fixture
def token(alice: Browser) -> str:
    return alice.cookies["grafana.test"]["CF_AUTHORIZATION"]


def audience_of(stack: Stack, host: str) -> str:
    """The AUD tag, as a stranger finds it."""
    return stack.browser().request(stack.url(host)).get("CF-Access-Aud")


def test_the_application_receives_what_stands_in_the_cookie(stack: Stack, alice: Browser, token: str) -> None:
    headers = dict(alice.request(stack.url("grafana.test")).json()["headers"])

    assert headers["Cf-Access-Jwt-Assertion"] == token
    assert headers["Cf-Access-Authenticated-User-Email"] == "alice@example.com"


def test_pyjwt_verifies_a_token_by_the_published_keys(stack: Stack, certs: dict[str, Any], token: str) -> None:
    key = jwt.PyJWKSet.from_dict(certs)[jwt.get_unverified_header(token)["kid"]]

    claims = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=audience_of(stack, "grafana.test"),
        issuer=stack.url(TEAM, ""),
        options={"require": ["exp", "iat", "nbf", "iss", "aud", "sub"]},
    )

    assert claims["email"] == "alice@example.com"


def test_joserfc_verifies_a_token_by_the_published_keys(stack: Stack, certs: dict[str, Any], token: str) -> None:
    decoded = joserfc_jwt.decode(token, KeySet.import_key_set({"keys": certs["keys"]}), algorithms=["RS256"])

    registry = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": stack.url(TEAM, "")},
        aud={"essential": True, "value": audience_of(stack, "grafana.test")},
        exp={"essential": True},
    )
    registry.validate(decoded.claims)
    assert decoded.claims["email"] == "alice@example.com"


def test_neither_library_takes_a_token_for_another_application(stack: Stack, certs: dict[str, Any], token: str) -> None:
    wiki = audience_of(stack, "wiki.other.example")
    key = jwt.PyJWKSet.from_dict(certs)[jwt.get_unverified_header(token)["kid"]]

    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, algorithms=["RS256"], audience=wiki)


def test_the_claims_are_those_of_cloudflare_access(stack: Stack, alice: Browser, token: str) -> None:
    """reference/access-wire.md 2.2; nothing undocumented is emitted."""
    claims = claims_in(alice, "grafana.test")
    now = time.time()

    assert claims["aud"] == [audience_of(stack, "grafana.test")]
    assert claims["iss"] == stack.url(TEAM, "")
    assert (claims["type"], claims["email"], claims["country"]) == ("app", "alice@example.com", "")
    assert re.fullmatch("[A-Za-z0-9]{16}", str(claims["identity_nonce"]))
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(claims["sub"]))
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(claims["policy_id"]))
    assert claims["iat"] == claims["nbf"]
    assert now - 600 < int(str(claims["iat"])) <= now
    assert int(str(claims["exp"])) - int(str(claims["iat"])) in (86399, 86400)
    assert {type(claims[name]) for name in ("exp", "iat", "nbf")} == {int}
    known = {"aud", "email", "exp", "iat", "nbf", "iss", "type", "identity_nonce", "sub", "country", "policy_id"}
    assert set(claims) == known
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"], set(header)) == ("RS256", "JWT", {"alg", "typ", "kid"})
    assert re.fullmatch("[0-9a-f]{64}", header["kid"])


def test_the_token_of_the_team_host_opens_no_application(stack: Stack, alice: Browser) -> None:
    organisation = alice.cookies[TEAM]["__Host-authd_team"]
    claims = claims_in(alice, TEAM, "__Host-authd_team")
    assert (claims["type"], claims["aud"]) == ("org", [stack.url(TEAM, "")])
    browser = Browser(stack.port, {"grafana.test": {"CF_AUTHORIZATION": organisation}})

    assert browser.request(stack.url("grafana.test")).status == 302
    assert stack.application.count == 0


def test_the_token_of_one_application_opens_no_other(stack: Stack, token: str) -> None:
    for host in ("wiki.other.example", "shared.test", "one.apps.test", TEAM):
        browser = Browser(stack.port, {host: {"CF_AUTHORIZATION": token, "__Host-authd_team": token}})
        path = IDENTITY if host == TEAM else "/"

        assert browser.request(stack.url(host, path)).status == (401 if host == TEAM else 302)
    assert stack.application.count == 0


def test_there_are_two_keys_and_a_certificate_for_each(certs: dict[str, Any], token: str) -> None:
    assert set(certs) == {"keys", "public_cert", "public_certs"}
    assert len(certs["keys"]) == len({key["kid"] for key in certs["keys"]}) == 2
    for key in certs["keys"]:
        assert set(key) == {"kid", "kty", "alg", "use", "e", "n"}
        assert (key["kty"], key["alg"], key["use"], key["e"]) == ("RSA", "RS256", "sig", "AQAB")
        assert re.fullmatch("[0-9a-f]{64}", key["kid"])
    assert [entry["kid"] for entry in certs["public_certs"]] == [key["kid"] for key in certs["keys"]]
    assert certs["public_cert"] in certs["public_certs"]
    assert certs["public_cert"]["kid"] == jwt.get_unverified_header(token)["kid"]


def test_the_certificates_hold_the_keys_and_are_in_force(certs: dict[str, Any]) -> None:
    keys = jwt.PyJWKSet.from_dict(certs)
    for entry in certs["public_certs"]:
        certificate = x509.load_pem_x509_certificate(entry["cert"].encode())
        public_key = certificate.public_key()

        assert isinstance(public_key, RSAPublicKey)
        assert public_key.public_numbers() == keys[entry["kid"]].key.public_numbers()
        assert public_key.key_size == 2048
        certificate.verify_directly_issued_by(certificate)
        assert certificate.not_valid_before_utc.timestamp() < time.time() < certificate.not_valid_after_utc.timestamp()


def test_every_host_publishes_the_same_keys_to_anybody(stack: Stack, certs: dict[str, Any]) -> None:
    for host in ("grafana.test", "wiki.other.example", "one.apps.test"):
        answer = stack.browser().request(stack.url(host, CERTS), headers=[("Origin", "https://any.example")])

        assert answer.json() == certs
        assert answer.get("Content-Type") == "application/json"
        assert answer.get("Access-Control-Allow-Origin") == "*"
        assert answer.get("Cache-Control") == "public, max-age=3600"


@pytest.mark.parametrize("host", ["grafana.test", "shared.test", TEAM])
def test_get_identity_tells_somebody_who_they_are(stack: Stack, alice: Browser, host: str) -> None:
    if host != TEAM:
        assert alice.visit(stack.url(host)).status == 200

    answer = alice.request(stack.url(host, IDENTITY), headers=[("Accept", "*/*"), ("Sec-Fetch-Mode", "cors")])
    identity = answer.json()

    assert answer.get("Cache-Control") == "no-store"
    assert identity["email"] == "alice@example.com"
    assert identity["user_uuid"] == identity["id"] == claims_in(alice, "grafana.test")["sub"]
    assert identity["groups"] == ["staff", "admins"]
    assert identity["idp"] == {"id": "corp", "type": "oidc"}
    assert identity["amr"] == ["pwd"]
    assert identity["ip"] == "127.0.0.1"
    assert isinstance(identity["iat"], int)


@pytest.mark.parametrize("host", ["grafana.test", TEAM])
def test_get_identity_tells_nobody_anything(stack: Stack, host: str) -> None:
    answer = stack.browser().request(stack.url(host, IDENTITY))

    assert (answer.status, answer.json()) == (401, {"error": "no_session"})
    assert answer.get("Access-Control-Allow-Origin") == ""


@pytest.mark.parametrize("name", ["CF_AUTHORIZATION", "CF_Authorization", "cf_authorization"])
def test_the_cookie_counts_in_cloudflares_spelling_too(stack: Stack, token: str, name: str) -> None:
    browser = Browser(stack.port, {"grafana.test": {name: token}})

    assert browser.request(stack.url("grafana.test")).status == 200


@pytest.mark.parametrize(
    "header", [("Cf-Access-Token", "{}"), ("Authorization", "Bearer {}"), ("authorization", "bearer {}")]
)
def test_a_script_may_send_the_token_in_a_header(stack: Stack, token: str, header: tuple[str, str]) -> None:
    name, value = header
    answer = stack.browser().request(stack.url("grafana.test"), headers=[(name, value.format(token))])

    assert answer.status == 200
    assert "Cf-Access-Token" not in dict(answer.json()["headers"])
    assert answer.get_all("Set-Cookie") == []


def test_an_assertion_that_an_application_received_opens_nothing_when_it_is_sent_back(stack: Stack, token: str) -> None:
    answer = stack.browser().request(stack.url("grafana.test"), headers=[("Cf-Access-Jwt-Assertion", token)])

    assert answer.status == 302
    assert stack.application.count == 0


def test_every_cookie_of_a_login_is_shut_in_as_far_as_cookies_can_be(stack: Stack) -> None:
    browser = stack.log_in(stack.url("grafana.test"), "alice")
    lines = [line for step in browser.history for line in step.get_all("Set-Cookie")]

    assert len(lines) >= 5
    for line in lines:
        attributes = [part.strip() for part in line.split(";")[1:]]
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes), line
        assert [part.partition("=")[0] for part in attributes][1:3] == ["Max-Age", "Expires"]
        assert "domain" not in line.lower()
    (mine,) = [line for line in lines if line.startswith("CF_AUTHORIZATION=")]
    max_age = re.search(r"Max-Age=(\d+);", mine)
    assert max_age
    assert int(max_age[1]) in (86399, 86400)
