"""Applications that only verify: an edge's word is enough for the origin's own policies, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from authd.access import Verdict
from authd.model import ClientCertificate, Outcome, Reason
from tests.authd.house import CONFIG, House, make_request
from tests.authd.issuers.edge_tokens import AUD, MACHINE, NOW, OTHER_AUD, TEAM, sign
from tests.authd.resources.check_app import CheckApp
from tests.forge import rsa_key
from tests.idp_server import FakeProvider, running_provider

ORIGIN = f"""
  - id: origin
    domains: [app.example.net]
    issuer: {TEAM}
    aud: {AUD}
    certs_url: CERTS
    policies:
      - name: Machine
        decision: non_identity
        include: [{{token_claim: {{claim_name: common_name, claim_value: ci.access, token_issuer_id: "{TEAM}"}}}}]
      - {{name: Staff, decision: allow, include: [{{email_domain: example.com}}]}}
      - name: Admins
        decision: allow
        include: [{{oidc: {{claim_name: groups, claim_value: admins, identity_provider_id: "{TEAM}"}}}}]
  - id: empty
    domains: [empty.example.net]
    issuer: {TEAM}
    aud: {OTHER_AUD}
    certs_url: CERTS
  - id: other
    domains: [other.example.net]
    issuer: {TEAM}
    aud: {OTHER_AUD}
    certs_url: CERTS
    policies: [{{name: All, decision: allow, include: [{{everyone: true}}]}}]
  - id: everyone
    domains: [app.example.net/all]
    issuer: {TEAM}
    aud: {AUD}
    certs_url: CERTS
    policies: [{{name: All, decision: allow, include: [{{everyone: true}}]}}]
"""


@pytest.fixture(scope="module")
def publisher() -> AsyncIterator[FakeProvider]:
    with running_provider() as server:
        yield server


@pytest.fixture
async def origin(house: House, publisher: FakeProvider) -> House:
    publisher.misbehave = set()
    publisher.key_names = ["provider-1"]
    house.load(CONFIG + ORIGIN.replace("CERTS", f"{publisher.issuer}/jwks"))
    await house.fetch_issuers_keys()
    return house


async def ask(
    origin: House, assertion: str = "", path: str = "/", host: str = "app.example.net", **more: Any
) -> Verdict:
    request = make_request(f"https://{host}{path}", assertion=assertion, scope=host + path, **more)
    return await origin.access.check(request)


def told(verdict: Verdict) -> tuple[Outcome, Reason]:
    return verdict.decision.outcome, verdict.decision.reason


LET_IN = (Outcome.ALLOW, Reason.POLICY_ALLOW)


async def test_a_person_whom_the_edge_vouches_for_is_let_in_as_who_they_are(origin: House) -> None:
    text = sign()
    verdict = await ask(origin, text)
    assert told(verdict) == LET_IN
    assert verdict.decision.policy_name == "Staff"
    assert verdict.credential.token == text, "passed on as it came"
    assert verdict.credential.identity
    assert verdict.credential.identity.email == "alice@example.com"
    assert verdict.is_cacheable


async def test_the_origin_s_own_policies_decide(origin: House) -> None:
    assert told(await ask(origin, sign(email="mallory@example.org", custom={}))) == (
        Outcome.DENY,
        Reason.NO_POLICY_MATCHED,
    )
    by_group = await ask(origin, sign(email="carol@example.org"))
    assert by_group.decision.policy_name == "Admins"


async def test_without_policies_nobody_gets_in(origin: House) -> None:
    verdict = await ask(origin, sign(aud=[OTHER_AUD]), host="empty.example.net")
    assert told(verdict) == (Outcome.DENY, Reason.NO_POLICY_MATCHED)


async def test_one_tag_of_the_edge_may_have_several_applications_here(origin: House) -> None:
    assert (
        await ask(origin, sign(email="mallory@example.org", custom={}), "/all")
    ).decision.application_id == "everyone"
    assert told(await ask(origin, sign(email="mallory@example.org", custom={}), "/all")) == LET_IN


async def test_a_machine_needs_a_policy_for_machines(origin: House) -> None:
    named = await ask(origin, sign(MACHINE, common_name="ci.access"))
    assert told(named) == LET_IN
    assert named.decision.policy_name == "Machine"
    other = await ask(origin, sign(MACHINE))
    assert told(other) == (Outcome.DENY, Reason.NO_POLICY_MATCHED)
    # Everybody who can log in: a machine cannot.
    assert told(await ask(origin, sign(MACHINE), "/all")) == (Outcome.DENY, Reason.NO_POLICY_MATCHED)
    # A person is no machine, whatever their token calls itself besides.
    person = await ask(origin, sign(common_name="ci.access", email="mallory@example.org", custom={}))
    assert told(person) == (Outcome.DENY, Reason.NO_POLICY_MATCHED)


@pytest.mark.parametrize("name", ["CF_Authorization", "CF_AUTHORIZATION", "cf_authorization"])
async def test_without_the_header_the_cookie_counts(origin: House, name: str) -> None:
    text = sign()
    verdict = await ask(origin, cookie_header=f"a=b; {name}={text}; c=d", nginx_session=text)
    assert told(verdict) == LET_IN
    assert verdict.is_cacheable
    unseen = await ask(origin, cookie_header=f"a=b; {name}={text}; c=d")
    assert told(unseen) == LET_IN
    assert not unseen.is_cacheable, "nginx has not read this cookie, so it is not in the key"


async def test_the_header_goes_before_the_cookie(origin: House) -> None:
    alice, mallory = sign(), sign(email="mallory@example.org", custom={}, sub="mallory")
    cookie = {"cookie_header": f"CF_Authorization={mallory}", "nginx_session": mallory}
    assert told(await ask(origin, alice, **cookie)) == LET_IN
    cookie = {"cookie_header": f"CF_Authorization={alice}", "nginx_session": alice}
    assert told(await ask(origin, mallory, **cookie)) == (Outcome.DENY, Reason.NO_POLICY_MATCHED)
    assert told(await ask(origin, "rubbish", **cookie)) == (Outcome.LOGIN, Reason.TOKEN_MALFORMED)


async def test_two_cookies_of_two_people_are_nobody_s(origin: House) -> None:
    alice, bob = sign(), sign(sub="bob", email="bob@example.com")
    verdict = await ask(origin, cookie_header=f"CF_Authorization={alice}; CF_AUTHORIZATION={bob}", nginx_session=alice)
    assert told(verdict) == (Outcome.DENY, Reason.CONFLICTING_SESSIONS)


@pytest.mark.parametrize("place", ["access_token", "authorization"])
async def test_clients_own_headers_are_not_the_edge_s_word(origin: House, place: str) -> None:
    text = sign() if place == "access_token" else f"Bearer {sign()}"
    assert told(await ask(origin, **{place: text})) == (Outcome.LOGIN, Reason.NO_CREDENTIAL)


REFUSED: dict[str, tuple[dict[str, Any], Reason]] = {
    "another team's": ({"iss": "https://evil.cloudflareaccess.com"}, Reason.TOKEN_ISSUER),
    "another application's": ({"aud": [OTHER_AUD]}, Reason.TOKEN_AUDIENCE),
    "the global session": ({"type": "org"}, Reason.TOKEN_TYPE),
    "an old one": ({"exp": NOW}, Reason.TOKEN_EXPIRED),
    "a stranger's": ({"key": "stranger", "header": {"kid": "provider-1"}}, Reason.TOKEN_SIGNATURE),
    "of a key that is not published": ({"key": "stranger"}, Reason.TOKEN_KEY_UNKNOWN),
    "with another algorithm": ({"header": {"alg": "PS256"}}, Reason.TOKEN_SIGNATURE),
    "of another type": ({"header": {"typ": "at+jwt"}}, Reason.TOKEN_TYPE),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_j24_j25_any_other_token_is_refused(origin: House, name: str) -> None:
    rsa_key("stranger")
    changes, reason = REFUSED[name]
    assert told(await ask(origin, sign(**changes))) == (Outcome.LOGIN, reason)


async def test_j25_our_own_token_opens_no_application_that_only_verifies(origin: House) -> None:
    _, ours = await origin.open_session()
    assert told(await ask(origin, ours)) == (Outcome.LOGIN, Reason.TOKEN_ISSUER)


async def test_j25_the_edge_s_token_opens_none_of_ours(origin: House) -> None:
    aud = origin.index.get_application("grafana").aud
    request = make_request(assertion=sign(aud=[aud]), access_token=sign(aud=[aud]))
    assert (await origin.access.check(request)).decision.outcome is Outcome.LOGIN
    # An assertion is the edge's word, and this application has no edge: it is not even looked at.
    _, ours = await origin.open_session()
    assert told(await origin.access.check(make_request(assertion=ours))) == (Outcome.LOGIN, Reason.NO_CREDENTIAL)


async def test_j27_j29_a_token_that_was_remembered_ends_to_the_second(origin: House) -> None:
    text = sign(exp=NOW + 100)
    verdict = await ask(origin, text)
    assert origin.access.still_holds(verdict)
    assert origin.access.cacheable_until(verdict) == NOW
    origin.clock.now = NOW + 100
    assert not origin.access.still_holds(verdict)
    assert told(await ask(origin, text)) == (Outcome.LOGIN, Reason.TOKEN_EXPIRED)


async def test_j29_a_remembered_token_is_asked_about_by_today_s_policies(
    origin: House, publisher: FakeProvider
) -> None:
    text = sign()
    verdict = await ask(origin, text)
    closed = ORIGIN.replace("email_domain: example.com", "email_domain: example.org")
    origin.load(
        CONFIG + closed.replace("CERTS", f"{publisher.issuer}/jwks").replace("claim_value: admins", "claim_value: x")
    )
    assert not origin.access.still_holds(verdict)
    assert told(await ask(origin, text)) == (Outcome.DENY, Reason.NO_POLICY_MATCHED)


async def test_j29_a_token_that_was_verified_for_one_application_is_not_for_another(origin: House) -> None:
    text = sign()
    assert told(await ask(origin, text)) == LET_IN
    assert told(await ask(origin, text, host="other.example.net")) == (Outcome.LOGIN, Reason.TOKEN_AUDIENCE)


async def test_a_visitor_without_the_edge_s_word_is_told_where_to_come_through(origin: House) -> None:
    app = CheckApp(origin)
    there = {"x_original_url": "https://app.example.net/x", "x_authd_app": "origin", "x_original_path": "/x"}
    assert (await app.ask(**there)).status_code == 401
    page = await app.ask("/challenge", accept="text/html", sec_fetch_mode="navigate", **there)
    assert page.status_code == 401
    assert "location" not in page.headers
    assert page.cookies == ()
    assert TEAM in page.text
    script = await app.ask("/challenge", accept="application/json", **there)
    assert script.status_code == 401
    assert script.json == {"error": "edge_token_required", "issuer": TEAM, "reference": "0123456789abcdef"}


async def test_j28_what_was_wrong_is_told_to_the_log_alone(origin: House) -> None:
    app = CheckApp(origin)
    there = {"x_original_url": "https://app.example.net/x", "x_authd_app": "origin", "x_original_path": "/x"}
    answers = set()
    for changes, _ in REFUSED.values():
        answer = await app.ask("/challenge", accept="text/html", cf_access_jwt_assertion=sign(**changes), **there)
        answers.add((answer.status_code, answer.text, str(answer.headers)))
        await app.ask(cf_access_jwt_assertion=sign(**changes), **there)
    assert len(answers) == 1
    assert [line["reason"] for line in app.lines] == [reason.value for _, reason in REFUSED.values()]


async def test_who_is_denied_is_offered_no_login_of_ours(origin: House) -> None:
    app = CheckApp(origin)
    there = {"x_original_url": "https://app.example.net/x", "x_authd_app": "origin", "x_original_path": "/x"}
    text = sign(email="mallory@example.org", custom={})
    answer = await app.ask("/challenge", accept="text/html", cf_access_jwt_assertion=text, **there)
    assert answer.status_code == 403
    assert "mallory@example.org" in answer.text
    assert "Use another account" not in answer.text
    assert "Log out" not in answer.text


async def test_the_application_is_told_who_it_is_and_the_log_names_the_machine(origin: House) -> None:
    app = CheckApp(origin)
    there = {"x_original_url": "https://app.example.net/x", "x_authd_app": "origin", "x_original_path": "/x"}
    text = sign()
    person = await app.ask(cf_access_jwt_assertion=text, **there)
    assert person.headers["cf-access-jwt-assertion"] == text
    assert person.headers["cf-access-authenticated-user-email"] == "alice@example.com"
    assert person.headers["x-authd-groups"] == "staff,admins"
    again = await app.ask(cf_access_jwt_assertion=text, **there)
    assert again.headers == person.headers
    machine = await app.ask(cf_access_jwt_assertion=sign(MACHINE, common_name="ci.access"), **there)
    assert machine.status_code == 200
    assert machine.headers["x-authd-user"] == "machine:ci.access"
    assert "cf-access-authenticated-user-email" not in machine.headers
    assert [(line["email"], line["machine"], line["session"]) for line in app.lines] == [
        ("alice@example.com", None, "6ei69k"),
        (None, "ci.access", None),
    ]


async def test_keys_that_cannot_be_had_are_an_outage_and_no_denial(house: House, publisher: FakeProvider) -> None:
    house.load(CONFIG + ORIGIN.replace("CERTS", f"{publisher.issuer}/jwks"))
    publisher.misbehave = {"jwks-500"}
    app = CheckApp(house)
    there = {"x_original_url": "https://app.example.net/x", "x_authd_app": "origin", "x_original_path": "/x"}
    assert (await app.ask(cf_access_jwt_assertion=sign(), **there)).status_code == 500
    assert app.store_errors == ["/auth issuer_unavailable"]
    page = await app.ask("/challenge", accept="text/html", cf_access_jwt_assertion=sign(), **there)
    assert (page.status_code, page.cookies) == (503, ())
    assert (await app.ask()).status_code == 401, "nobody else notices"


def test_the_launcher_and_the_login_know_nothing_of_it(origin: House) -> None:
    assert origin.index.find_by_aud(AUD) is None


async def test_an_edge_that_is_down_for_an_hour_logs_nobody_out(origin: House, publisher: FakeProvider) -> None:
    """Until their tokens end, and over a restart of the origin."""
    text, brief = sign(exp=NOW + 7200), sign(exp=NOW + 1800)
    assert told(await ask(origin, text)) == told(await ask(origin, brief)) == LET_IN
    publisher.misbehave = {"jwks-500"}
    for minutes in range(10, 61, 10):
        origin.clock.now = origin.monotonic.now = NOW + minutes * 60
        origin.issuers.tend()
        assert told(await ask(origin, text)) == LET_IN
        expected = LET_IN if minutes < 30 else (Outcome.LOGIN, Reason.TOKEN_EXPIRED)
        assert told(await ask(origin, brief)) == expected
    origin.issuers.close()
    restarted = origin.make_another_worker()
    await restarted.fetch_issuers_keys()
    assert told(await ask(restarted, text)) == LET_IN
    restarted.issuers.close()
    await restarted.store.close()


PROBES = """
client_certificate_authorities: [{id: devices, issuer_dn: "CN=Device CA"}]
applications:
  - id: probed
    domains: [probed.example.net]
    issuer: https://t.example.com
    aud: "AUD"
    policies: [{name: Probes, decision: non_identity, include: [{certificate: devices}]}]
"""


async def test_where_only_the_edge_s_tokens_count_no_token_of_ours_is_shown(house: House) -> None:
    """A certificate may open it; there is no key of ours to sign with, and nobody who would know it."""
    house.load("secret_file: /nowhere\n" + PROBES.replace("AUD", AUD))
    certificate = ClientCertificate("CN=Device CA", "probe-1", "0" * 40)
    facts = replace(make_request().facts, certificate=certificate)
    verdict = await ask(house, host="probed.example.net", facts=facts)
    assert told(verdict) == LET_IN
    assert verdict.credential.token is None
    without = await ask(house, host="probed.example.net")
    assert without.decision.outcome is Outcome.DENY
    headers = {"cf_access_client_id": "x.access", "cf_access_client_secret": "y"}
    there = {"x_original_url": "https://probed.example.net/x", "x_authd_app": "probed", "x_original_path": "/x"}
    assert (await CheckApp(house).ask(**headers, **there)).status_code == 403
