"""Well-signed tokens that are not for this door: other claims, kinds and times (attacks.md J12 to J17, J25 to J29)."""

from __future__ import annotations

import json
from typing import Any

from authd.attempts import AppSession, Meta, hash_path
from authd.login import TEAM_COOKIE
from authd.state.records import HandoverCode
from tests.forge import forge_token, good_token
from tests.security.conftest import StartEdge
from tests.security.edge import APPLICATIONS, STAFF, START, TEAM_HOST, Edge

NOW = int(START)
CLAIMS: dict[str, dict[str, Any]] = {
    **{
        f"J12 exp {exp!r:.20}": {"exp": exp}
        for exp in (
            str(NOW + 60),
            True,
            None,
            [],
            {},
            -1,
            0,
            1e308,
            1.5,
            NOW + 60.5,
            10**30,
            2**53 + 1,
            "",
            ...,
            NOW,
            NOW - 1,
        )
    },
    **{f"J13 nbf {nbf!r:.20}": {"nbf": nbf} for nbf in (-1, True, "1", 1e308, NOW + 61, NOW + 3600, None)},
    **{f"J13 iat {iat!r:.20}": {"iat": iat} for iat in (-1, True, "1", NOW + 61, None, [])},
    **{
        f"J15 aud {aud!r:.40}": {"aud": aud}
        for aud in ([], "", None, ..., True, {"app": 1}, ["APP"], "*", ["*"], ["x"] * 500, [["x"]], 0)
    },
    **{
        f"J16 iss {iss!r:.40}": {"iss": iss}
        for iss in (
            f"https://{TEAM_HOST}",
            f"https://{TEAM_HOST}:8443/",
            f"HTTPS://{TEAM_HOST}:8443",
            f"http://{TEAM_HOST}:8443",
            "https",
            "",
            ...,
            None,
            1,
            [f"https://{TEAM_HOST}:8443"],
        )
    },
    **{
        f"J17 sub {sub!r:.40}": {"sub": sub}
        for sub in (
            "",
            1,
            ["subject-of-alice@example.com"],
            ...,
            None,
            "u\r\nX-Admin: 1",
            "x" * 6000,
            "subject-of-root@example.com",
        )
    },
    **{
        f"J17 session {nonce!r:.40}": {"identity_nonce": nonce}
        for nonce in (
            "",
            1,
            ["session-00000001"],
            ...,
            None,
            "session-00000002",
            "session\x00",
            "x" * 6000,
            "SESSION-00000001",
        )
    },
    **{f"J25 type {kind!r}": {"type": kind} for kind in ("org", "meta", "APP", "", ..., None, ["app"], "service")},
}


def sign(edge: Edge, claims: dict[str, Any], **header: Any) -> str:
    key = edge.worker.keyring().signing_key(edge.now)
    return forge_token({"alg": "RS256", "kid": key.key_id, "typ": "JWT"} | header, claims, key.private_key, "RS256")


async def test_a_claim_that_is_not_exactly_right_is_nobodys(edge: Edge) -> None:
    session = await edge.log_in()
    nobody = await edge.check()
    taken = []
    for name, changes in CLAIMS.items():
        token = sign(edge, edge.claims(session, **changes))
        for headers in ({"cookie": edge.cookie(token), "x_authd_session": token}, {"cf_access_token": token}):
            if await edge.check(**headers) != nobody:
                taken.append(name)
    assert taken == []


async def test_an_audience_with_company_opens_neither(edge: Edge) -> None:
    session = await edge.log_in()
    grafana, wiki = edge.application("grafana").aud, edge.application("wiki").aud
    for aud in (
        [grafana, wiki],
        [wiki, grafana],
        [grafana, grafana],
        [grafana, 1],
        f"{grafana} {wiki}",
        grafana.upper(),
    ):
        token = sign(edge, edge.claims(session, aud=aud))
        assert (await edge.check(cookie=edge.cookie(token))).status == 401, aud


async def test_the_email_in_a_token_decides_nothing(edge: Edge) -> None:
    """The session does. Somebody whose token says root is still who logged in."""
    session = await edge.log_in("mallory@example.org")
    token = sign(edge, edge.claims(session, "wiki", email="root@example.com", custom={"groups": ["admins"]}))
    answer = await edge.check("wiki.test", cookie=edge.cookie(token, "wiki"))
    assert answer.get("cf-access-authenticated-user-email") == "mallory@example.org"
    for_admin = sign(edge, edge.claims(session, "admin", email="root@example.com"))
    assert (await edge.check("paths.test", "/admin", cookie=edge.cookie(for_admin, "admin"))).status == 403


async def _other_tokens(edge: Edge) -> dict[str, str]:
    session = await edge.log_in()
    attempts = edge.worker.login._attempts
    meta = Meta("grafana", "grafana.test", hash_path("/"), "0" * 64, 0, None, NOW + 300)
    code = HandoverCode(session.id, "grafana", "grafana.test", "/", "0" * 64, 0)
    await edge.worker.records.add_code("a-code-of-the-login", code, now=NOW)
    return {
        "organisation": edge.organisation_token(session),
        "organisation for an application": sign(edge, edge.claims(session, type="org")),
        "another application": edge.token(session, "wiki"),
        "a path of another host": edge.token(session, "admin"),
        "meta": attempts.render_meta(meta),
        "state": attempts.render_path("/", "grafana.test"),
        "code": "a-code-of-the-login",
        "session id": session.id,
        "browser's name": AppSession("A" * 22).name,
        "ID token of the provider": good_token("provider", iss="http://127.0.0.1:1", aud="authd", nonce="n"),
        "a staging authd with the same key id": good_token("staging", iss=f"https://{TEAM_HOST}:8443"),
        "a key id and nothing else": edge.worker.keyring().keys[0].key_id,
    }


async def test_no_other_token_opens_an_application(edge: Edge) -> None:
    nobody = await edge.check()
    for kind, token in (await _other_tokens(edge)).items():
        for headers in (
            {"cookie": edge.cookie(token), "x_authd_session": token},
            {"cookie": f"CF_Authorization={token}"},
            {"cookie": f"{TEAM_COOKIE}={token}"},
            {"cf_access_token": token},
            {"authorization": f"Bearer {token}"},
        ):
            assert await edge.check(**headers) == nobody, kind


async def test_no_token_of_an_application_is_a_session_of_the_team_host(edge: Edge) -> None:
    others = await _other_tokens(edge)
    organisation = others.pop("organisation")
    session = await edge.log_in()
    others |= {"its own audience": sign(edge, edge.claims(session, aud=f"https://{TEAM_HOST}:8443"))}
    for kind, token in others.items():
        answer = await edge.ask("/team/get-identity", TEAM_HOST, cookie=f"{TEAM_COOKIE}={token}")
        assert answer.status == 401, kind
        for name in ("CF_AUTHORIZATION", "__Host-authd_team2", "__host-authd_team"):
            answer = await edge.ask("/team/get-identity", TEAM_HOST, cookie=f"{name}={organisation}")
            assert answer.status == 401, name


async def test_an_assertion_that_was_handed_to_an_application_is_not_taken_back(edge: Edge) -> None:
    token = edge.token(await edge.log_in())
    assert (await edge.check(cf_access_jwt_assertion=token)).status == 401


async def test_a_token_ends_on_the_second_and_has_no_leeway(edge: Edge) -> None:
    """J27, J29, F17: remembered or not, whichever way the clock jumps. Nor does it start more than a minute before it
    was made."""
    session = await edge.log_in()
    cookie = edge.cookie(edge.token(session, expires_in=100))
    for moment, status in (
        (0, 200),
        (99.9, 200),
        (100, 401),
        (100.1, 401),
        (300, 401),
        (50, 200),
        (-59, 200),
        (-3600, 200),
    ):
        edge.now = START + moment
        assert (await edge.check(cookie=cookie)).status == status, moment
    edge.forget()
    for moment, status in ((-59, 200), (100, 401), (-61, 401), (-3600, 401)):
        edge.now = START + moment
        edge.forget()
        assert (await edge.check(cookie=cookie)).status == status, moment


async def test_a_token_of_2106_ends_with_its_session(edge: Edge) -> None:
    """J14: a lifetime of eighty years is bounded by the session's."""
    session = await edge.log_in()
    cookie = edge.cookie(sign(edge, edge.claims(session, exp=4_294_967_296 + 100)))
    assert (await edge.check(cookie=cookie)).status == 200
    for moment in (session.expires_at, 2_147_483_648, 4_294_967_296, 4_294_967_396):
        edge.now = float(moment)
        assert (await edge.check(cookie=cookie)).status == 401


async def test_one_body_for_every_refusal(edge: Edge) -> None:
    """J28: neither the check nor a script's answer tells a forger how far they got."""
    session, ended = await edge.log_in(), await edge.log_in("bob@example.com")
    gone = edge.token(ended)
    await edge.worker.sessions.end(ended)
    tokens = {
        "none": "",
        "bad signature": edge.token(session)[:-8] + "AAAAAAAA",
        "unknown key": sign(edge, edge.claims(session), kid="0" * 64),
        "expired": sign(edge, edge.claims(session, exp=NOW - 1)),
        "another audience": edge.token(session, "wiki"),
        "ended": gone,
        "no token": "garbage",
    }
    script = {"sec_fetch_mode": "cors", "accept": "application/json"}
    checks = {kind: await edge.check(cookie=edge.cookie(token)) for kind, token in tokens.items()}
    scripts = {
        kind: await edge.challenge(cookie=edge.cookie(token), **script)  # type: ignore[arg-type]
        for kind, token in tokens.items()
    }
    assert len(set(checks.values())) == 1, checks
    assert len(set(scripts.values())) == 1, scripts
    assert json.loads(scripts["none"].body)["error"] == "login_required"


async def test_what_is_remembered_of_a_token_is_asked_again_every_time(start_edge: StartEdge) -> None:
    """J29: its application, its session, its key and today's policies."""
    edge, other = await start_edge(), await start_edge()
    session = await edge.log_in()
    token = edge.token(session)
    assert (await edge.check(cookie=edge.cookie(token))).status == 200
    assert (await edge.check("wiki.test", cookie=edge.cookie(token, "wiki"))).status == 401, "primed by another one"
    stricter = [each | {"policies": [STAFF | {"exclude": [{"email": "alice@example.com"}]}]} for each in APPLICATIONS]
    changed = await start_edge(applications=stricter)
    before, edge.worker._policies = edge.worker._policies, changed.worker._policies
    assert (await edge.check(cookie=edge.cookie(token))).status == 403, "the policy changed"
    edge.worker._policies = before
    assert (await edge.check(cookie=edge.cookie(token))).status == 200
    key = edge.worker.keyring().signing_key(edge.now)
    await other.worker.records.end_key(key, now=int(edge.now))
    await edge.worker.sessions.poll()
    assert (await edge.check(cookie=edge.cookie(token))).status == 401, "the key was retired"
    token = edge.token(session)
    assert (await edge.check(cookie=edge.cookie(token))).status == 200
    await other.worker.sessions.end(session)
    await edge.worker.sessions.poll()
    assert (await edge.check(cookie=edge.cookie(token))).status == 401, "the session ended elsewhere"
