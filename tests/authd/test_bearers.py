"""Machines that bring a token of a configured issuer, and everything that must not be taken for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from authd.access import Verdict
from authd.model import Outcome, Reason
from tests.authd.house import CONFIG, NOW, TEAM, House, make_request, with_cookie
from tests.authd.resources.check_app import CheckApp
from tests.forge import ec_key, forge_token, rsa_key
from tests.idp_server import FakeProvider, running_provider

AUDIENCE = "https://deploy.example.com"
SUBJECT = "repo:acme/shop:ref:refs/heads/main"
ISSUERS = """
token_issuers:
  - {id: github, issuer: "ISSUER", audiences: ["https://deploy.example.com", "other"]}
  - {id: gateway, issuer: "https://gateway.example.com", jwks_uri: "ISSUER/jwks", audiences: [api], types: [at+jwt],
     algorithms: [RS256], groups_claim: roles}
"""
BEHIND = """
  - id: deploy
    domains: [deploy.example.com]
    session_duration: 10m
    policies:
      - name: Main branch
        decision: non_identity
        include: [{token_claim: {claim_name: ref, claim_value: refs/heads/main, token_issuer_id: github}}]
        require: [{token_claim: {claim_name: repository, claim_value: acme/shop, token_issuer_id: github}}]
      - name: Writers
        decision: non_identity
        include: [{token_claim: {claim_name: scope, claim_value: "deploy:write", token_issuer_id: gateway}}]
      - {name: Staff, decision: allow, include: [{email_domain: example.com}]}
  - id: machines
    domains: [machines.example.com]
    policies: [{name: Any job, decision: non_identity, include: [{token_issuer: github}]}]
"""
GITHUB = {
    "aud": AUDIENCE,
    "sub": SUBJECT,
    "repository": "acme/shop",
    "ref": "refs/heads/main",
    "iat": NOW,
    "nbf": NOW - 600,
    "exp": NOW + 300,
    "jti": "1",
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeProvider]:
    with running_provider() as server:
        yield server


@pytest.fixture
async def api(house: House, issuer: FakeProvider) -> House:
    issuer.misbehave = set()
    issuer.key_names = ["provider-1"]
    house.load(CONFIG + BEHIND + ISSUERS.replace("ISSUER", issuer.issuer))
    await house.fetch_issuers_keys()
    return house


def sign(issuer: FakeProvider, *, key: str = "provider-1", header: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {"iss": issuer.issuer, **GITHUB, **changes}
    whole = {name: value for name, value in claims.items() if value is not ...}
    named = {"alg": "RS256", "kid": key, "typ": "JWT"} | (header or {})
    return forge_token({name: value for name, value in named.items() if value is not ...}, whole, rsa_key(key), "RS256")


def sign_of_gateway(issuer: FakeProvider, **changes: Any) -> str:
    claims = {"iss": "https://gateway.example.com", "aud": "api", "scope": "read deploy:write", "roles": ["ops"]}
    return sign(issuer, header={"typ": "at+jwt"}, **claims | changes)


async def ask(api: House, text: str, host: str = "deploy.example.com", **more: Any) -> Verdict:
    more = {"scope": host, "authorization": f"Bearer {text}"} | more
    return await api.access.check(make_request(f"https://{host}/", **more))


def told(verdict: Verdict) -> tuple[Outcome, Reason]:
    return verdict.decision.outcome, verdict.decision.reason


LET_IN = (Outcome.ALLOW, Reason.POLICY_ALLOW)
DENIED = (Outcome.DENY, Reason.NO_POLICY_MATCHED)


async def test_a_job_is_let_in_by_its_claims(api: House, issuer: FakeProvider) -> None:
    verdict = await ask(api, sign(issuer))
    assert told(verdict) == LET_IN
    assert verdict.decision.policy_name == "Main branch"
    assert verdict.is_cacheable
    assert told(await ask(api, sign(issuer, ref="refs/heads/evil"))) == DENIED
    assert told(await ask(api, sign(issuer, repository="mallory/shop"))) == DENIED
    assert told(await ask(api, sign(issuer, repository=["mallory/shop"]))) == DENIED


async def test_a_scope_is_a_list_of_words(api: House, issuer: FakeProvider) -> None:
    assert (await ask(api, sign_of_gateway(issuer))).decision.policy_name == "Writers"
    for scope in ("deploy:writer", "read,deploy:write", "", ["x"], 7):
        assert told(await ask(api, sign_of_gateway(issuer, scope=scope))) == DENIED


async def test_one_issuer_s_claims_are_not_another_s(api: House, issuer: FakeProvider) -> None:
    foreign = {"ref": "refs/heads/main", "repository": "acme/shop", "scope": "read"}
    assert told(await ask(api, sign_of_gateway(issuer, **foreign))) == DENIED
    assert told(await ask(api, sign_of_gateway(issuer), "machines.example.com")) == DENIED


async def test_a_machine_is_nobody_who_can_log_in(api: House, issuer: FakeProvider) -> None:
    """`everyone` in an `allow` is about people; and an address in a machine's token is none."""
    for host in ("wiki.example.com", "grafana.example.com"):
        text = sign(issuer, email="alice@example.com", email_verified=True)
        assert told(await ask(api, text, host)) == DENIED


async def test_the_application_is_shown_a_token_of_ours(api: House, issuer: FakeProvider) -> None:
    app = CheckApp(api)
    there = {"x_original_url": "https://machines.example.com/x", "x_authd_app": "machines"}
    answer = await app.ask(authorization=f"Bearer {sign(issuer)}", **there)
    assert answer.status_code == 200
    assert answer.cookies == ()
    assert answer.headers["x-authd-user"] == f"machine:github/{SUBJECT}"
    assert "cf-access-authenticated-user-email" not in answer.headers
    shown = answer.headers["cf-access-jwt-assertion"]
    claims = jwt.decode(shown, options={"verify_signature": False})
    assert claims == {
        "aud": api.index.get_application("machines").aud,
        "common_name": f"github/{SUBJECT}",
        "exp": NOW + 300,
        "iat": NOW,
        "iss": f"https://{TEAM}",
        "sub": "",
        "type": "app",
    }
    (line,) = app.lines
    assert (line["machine"], line["email"], line["session"]) == (f"github/{SUBJECT}", None, None)
    assert shown not in json.dumps(app.lines)


async def test_what_the_application_was_shown_opens_nothing(api: House, issuer: FakeProvider) -> None:
    shown = (await ask(api, sign(issuer), "machines.example.com")).credential.token
    assert shown
    for way in (
        with_cookie(shown),
        {"access_token": shown},
        {"assertion": shown},
        {"authorization": f"Bearer {shown}"},
    ):
        verdict = await ask(api, "", "machines.example.com", **{"authorization": ""} | way)
        assert verdict.decision.outcome is Outcome.DENY


async def test_it_is_signed_once_and_never_outlives_the_machine_s_token(api: House, issuer: FakeProvider) -> None:
    text = sign(issuer, exp=NOW + 3600)
    first = await ask(api, text)
    again = await ask(api, text)
    assert first.credential.token == again.credential.token
    assert first.expires_at == NOW + 600, "the application's session_duration"
    assert api.access.still_holds(first)
    api.clock.now = NOW + 541
    renewed = await ask(api, text)
    assert renewed.credential.token != first.credential.token, "an application needs some time with it"
    api.clock.now = NOW + 600
    assert not api.access.still_holds(first)
    api.clock.now = NOW + 3599
    assert (await ask(api, text)).expires_at == NOW + 3600
    api.clock.now = NOW + 3600
    assert told(await ask(api, text)) == (Outcome.LOGIN, Reason.TOKEN_EXPIRED)


REFUSED: dict[str, tuple[dict[str, Any], Reason]] = {
    "for somebody else": ({"aud": "sts.amazonaws.com"}, Reason.TOKEN_AUDIENCE),
    "for nobody": ({"aud": ...}, Reason.TOKEN_AUDIENCE),
    "for something that is no text": ({"aud": [AUDIENCE, 1]}, Reason.TOKEN_AUDIENCE),
    "expired": ({"exp": NOW}, Reason.TOKEN_EXPIRED),
    "without an end": ({"exp": ...}, Reason.TOKEN_EXPIRED),
    "of tomorrow": ({"nbf": NOW + 61}, Reason.TOKEN_NOT_YET_VALID),
    "of nobody": ({"sub": ...}, Reason.TOKEN_MALFORMED),
    "with a line end": ({"sub": "a\r\nX-Admin: 1"}, Reason.TOKEN_MALFORMED),
    "an ID token": ({"nonce": "n"}, Reason.TOKEN_TYPE),
    "an ID token of a code flow": ({"at_hash": "h"}, Reason.TOKEN_TYPE),
    "a logout token": ({"events": {}}, Reason.TOKEN_TYPE),
    "an access token where none is expected": ({"header": {"typ": "at+jwt"}}, Reason.TOKEN_TYPE),
    "a logout token by its type": ({"header": {"typ": "logout+jwt"}}, Reason.TOKEN_TYPE),
    "a stranger's": ({"key": "stranger", "header": {"kid": "provider-1"}}, Reason.TOKEN_SIGNATURE),
    "of an unknown key": ({"key": "stranger"}, Reason.TOKEN_KEY_UNKNOWN),
    "with another algorithm": ({"header": {"alg": "RS512"}}, Reason.TOKEN_SIGNATURE),
    "with the key's text as a secret": ({"header": {"alg": "HS256"}}, Reason.TOKEN_SIGNATURE),
    "unsigned": ({"header": {"alg": "none"}}, Reason.TOKEN_SIGNATURE),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_j24_j25_any_other_token_is_refused(api: House, issuer: FakeProvider, name: str) -> None:
    rsa_key("stranger")
    changes, reason = REFUSED[name]
    for host in ("deploy.example.com", "machines.example.com", "wiki.example.com"):
        assert told(await ask(api, sign(issuer, **changes), host)) == (Outcome.LOGIN, reason)


async def test_j24_a_key_of_another_kind_signs_nothing(api: House, issuer: FakeProvider) -> None:
    claims = {"iss": issuer.issuer, **GITHUB}
    text = forge_token({"alg": "ES256", "kid": "provider-1"}, claims, ec_key("stranger"), "ES256")
    assert told(await ask(api, text)) == (Outcome.LOGIN, Reason.TOKEN_KEY_UNKNOWN)


async def test_j25_a_type_that_is_asked_for_is_demanded(api: House, issuer: FakeProvider) -> None:
    assert told(await ask(api, sign_of_gateway(issuer))) == LET_IN
    for kind in ("AT+JWT", "application/at+jwt"):
        claims = {"iss": "https://gateway.example.com", "aud": "api", "scope": "deploy:write"}
        assert told(await ask(api, sign(issuer, header={"typ": kind}, **claims))) == LET_IN
        for other in ({"typ": "JWT"}, {"typ": ...}):
            assert told(await ask(api, sign(issuer, header=other, **claims))) == (Outcome.LOGIN, Reason.TOKEN_TYPE)


@pytest.mark.parametrize("way", ["cookie", "access_token", "assertion"])
async def test_only_the_authorization_header_carries_it(api: House, issuer: FakeProvider, way: str) -> None:
    text = sign(issuer)
    more = with_cookie(text) if way == "cookie" else {way: text}
    verdict = await ask(api, "", "machines.example.com", **{"authorization": ""} | more)
    assert verdict.decision.outcome is not Outcome.ALLOW


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer opaque", "Bearer a.b.c", "token eyJ.a.b", "Bearer "])
async def test_what_is_nobody_s_we_know_is_the_application_s_business(api: House, authorization: str) -> None:
    verdict = await ask(api, "", "grafana.example.com", authorization=authorization)
    assert told(verdict) == (Outcome.LOGIN, Reason.NO_CREDENTIAL)
    _, cookie = await api.open_session()
    with_session = await ask(api, "", "grafana.example.com", authorization=authorization, **with_cookie(cookie))
    assert told(with_session) == LET_IN


async def test_next_to_a_session_a_bearer_is_not_looked_at(api: House, issuer: FakeProvider) -> None:
    _, cookie = await api.open_session()
    for text in (sign(issuer), sign(issuer, exp=NOW)):
        verdict = await ask(api, text, "grafana.example.com", **with_cookie(cookie))
        assert told(verdict) == LET_IN
        assert verdict.credential.machine is None


async def test_a_script_is_told_so_and_never_sent_to_a_login(api: House, issuer: FakeProvider) -> None:
    app = CheckApp(api)
    answers = set()
    for changes, _ in REFUSED.values():
        bearer = f"Bearer {sign(issuer, **changes)}"
        assert (await app.ask(authorization=bearer)).status_code == 401
        for accept in ("*/*", "text/html", "application/json"):
            answer = await app.ask("/challenge", accept=accept, authorization=bearer)
            answers.add((answer.status_code, answer.text, answer.headers["www-authenticate"], len(answer.cookies)))
    body = '{"error": "invalid_token", "reference": "0123456789abcdef"}'
    assert answers == {(401, body, 'Bearer realm="authd", error="invalid_token"', 0)}
    denied = await app.ask("/challenge", accept="*/*", authorization=f"Bearer {sign(issuer)}")
    assert (denied.status_code, denied.json["error"]) == (403, "denied")


async def test_j29_other_settings_verify_anew(api: House, issuer: FakeProvider) -> None:
    text = sign(issuer)
    assert told(await ask(api, text)) == LET_IN
    changed = ISSUERS.replace('"https://deploy.example.com", "other"', '"other"').replace("ISSUER", issuer.issuer)
    api.load(CONFIG + BEHIND + changed)
    assert told(await ask(api, text)) == (Outcome.LOGIN, Reason.TOKEN_AUDIENCE)
    api.load(
        CONFIG + BEHIND.replace("github", "gateway") + ISSUERS.replace("github", "x").replace("ISSUER", "https://x.y")
    )
    assert told(await ask(api, text)) != LET_IN


async def test_j29_a_retired_key_of_ours_is_not_shown_any_more(api: House, issuer: FakeProvider) -> None:
    from authd.keys import generate_keyring

    text = sign(issuer)
    verdict = await ask(api, text)
    api.keyring = generate_keyring(team_domain=TEAM, now=NOW - 86400)
    assert not api.access.still_holds(verdict)
    assert (await ask(api, text)).credential.token != verdict.credential.token


async def test_an_issuer_whose_discovery_is_somebody_else_s_is_not_believed(house: House, issuer: FakeProvider) -> None:
    issuer.misbehave = {"discovery-issuer-mismatch"}
    issuer.key_names = ["provider-1"]
    house.load(CONFIG + BEHIND + ISSUERS.replace("ISSUER", issuer.issuer))
    app = CheckApp(house)
    there = {"x_original_url": "https://machines.example.com/x", "x_authd_app": "machines"}
    assert (await app.ask(authorization=f"Bearer {sign(issuer)}", **there)).status_code == 500
    assert app.store_errors == ["/auth issuer_unavailable"]
    assert (await app.ask()).status_code == 401, "nobody else notices"
