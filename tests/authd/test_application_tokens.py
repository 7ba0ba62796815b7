"""How long an application's token lives, and when a request brings the next one."""

from __future__ import annotations

import jwt
import pytest

from authd.access import Verdict
from authd.application_tokens import OFFER_SECONDS, PAUSE_SECONDS
from authd.model import Outcome, Reason, Session
from authd.policy.decide import decide
from authd.revocations import Scope
from tests.authd.house import CONFIG, NOW, House, make_client, make_identity, make_request, make_session, with_cookie

HOUR = 3600
MORE = """
  - id: long
    domains: [long.example.com]
    session_duration: 48h
    policies: [{name: All, decision: allow, include: [{everyone: true}]}]
  - id: tiered
    domains: [tiered.example.com]
    session_duration: 8h
    policies:
      - {name: Admins, decision: allow, session_duration: 1h, include: [{email: root@example.com}]}
      - {name: All, decision: allow, include: [{everyone: true}]}
"""
ROOT = make_identity("root@example.com")


@pytest.fixture
def house(house: House) -> House:
    house.load(CONFIG + MORE)
    return house


def issue(house: House, session: Session, application_id: str) -> str:
    """The token that a hand-over gives."""
    application = house.index.get_application(application_id)
    decision = decide(application, make_client().facts.about(session.identity))
    return house.access._application_tokens.issue(session, application, decision).text


async def check(house: House, application_id: str, token: str) -> Verdict:
    (domain, *_) = house.index.get_application(application_id).domains
    return await house.access.check(make_request(f"https://{domain.host}/", **with_cookie(token)))


def lifetime_of(token: str) -> int:
    claims = jwt.decode(token, options={"verify_signature": False})
    return int(claims["exp"] - claims["iat"])


@pytest.mark.parametrize(
    ("application_id", "identity", "seconds"),
    [
        ("tiered", ROOT, HOUR),  # the policy's
        ("tiered", make_identity(), 8 * HOUR),  # the application's
        ("wiki", ROOT, 24 * HOUR),  # the organisation's
        ("long", ROOT, 48 * HOUR),  # longer than the session on the team host
    ],
)
async def test_policy_before_application_before_organisation(
    house: House, application_id: str, identity: object, seconds: int
) -> None:
    session = make_session(identity=identity, tokens_until=NOW + 48 * HOUR)
    await house.sessions.add(session)
    token = issue(house, session, application_id)

    assert lifetime_of(token) == seconds
    house.clock.now = NOW + seconds - 1
    assert (await check(house, application_id, token)).decision.outcome is Outcome.ALLOW
    house.clock.now = NOW + seconds
    assert (await check(house, application_id, token)).decision.reason is Reason.TOKEN_EXPIRED


async def test_a_shorter_duration_counts_for_tokens_of_before(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    token = issue(house, session, "grafana")
    house.clock.now = NOW + 700
    verdict = await check(house, "grafana", token)
    assert verdict.decision.outcome is Outcome.ALLOW

    house.load(CONFIG.replace("session_duration: 1h", "session_duration: 10m"))

    assert not house.access.still_holds(verdict)
    assert (await check(house, "grafana", token)).decision.reason is Reason.TOKEN_EXPIRED


async def test_the_last_third_brings_the_next_token_and_what_came_before_does_not(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    token = issue(house, session, "grafana")

    early = await check(house, "grafana", token)
    assert (early.renewal.issued, early.is_cacheable) == (None, True)
    house.clock.now = NOW + 2 * HOUR // 3
    assert not house.access.still_holds(early), "what was remembered must not hide that it is time"

    verdict = await check(house, "grafana", token)

    issued = verdict.renewal.issued
    assert issued is not None
    assert house.access.cacheable_until(verdict) == 0
    assert lifetime_of(issued.text) == HOUR
    assert issued.cookie.startswith(f"CF_AUTHORIZATION={issued.text}; Path=/; Max-Age=3600; ")
    renewed = await check(house, "grafana", issued.text)
    assert (renewed.decision.outcome, renewed.renewal.issued) == (Outcome.ALLOW, None)


async def test_a_burst_is_signed_for_once_and_a_client_without_cookies_once_a_minute(house: House) -> None:
    session = make_session()
    await house.sessions.add(session)
    token = issue(house, session, "grafana")
    house.clock.now = NOW + 3000

    burst = [await check(house, "grafana", token) for _ in range(20)]
    assert len({verdict.renewal.issued for verdict in burst}) == 1
    house.clock.now = NOW + 3000 + OFFER_SECONDS
    paused = await check(house, "grafana", token)
    assert (paused.renewal.issued, paused.is_cacheable) == (None, True)
    assert house.access.still_holds(paused)
    house.clock.now = NOW + 3000 + PAUSE_SECONDS
    assert not house.access.still_holds(paused)
    again = await check(house, "grafana", token)
    assert again.renewal.issued not in (None, burst[0].renewal.issued)


async def test_no_token_is_renewed_that_the_team_session_does_not_carry(house: House) -> None:
    """The session on the team host has ended, and the application's token of 48 hours lives on by itself."""
    session = make_session(tokens_until=NOW + 48 * HOUR)
    await house.sessions.add(session)
    token = issue(house, session, "long")
    house.clock.now = NOW + 47 * HOUR + 1800

    verdict = await check(house, "long", token)

    assert (verdict.decision.outcome, verdict.renewal.issued) == (Outcome.ALLOW, None)


@pytest.mark.parametrize("way", ["left", "revoked"])
async def test_a_renewal_by_a_worker_that_has_not_heard_of_it_does_not_outlive_a_revocation(
    house: House, way: str
) -> None:
    session = make_session()
    await house.sessions.add(session)
    aud = house.index.get_application("grafana").aud
    token = issue(house, session, "grafana")
    other = house.make_another_worker()
    await other.sessions.start()
    house.clock.now = NOW + 3000.9 - PAUSE_SECONDS
    assert (await check(other, "grafana", token)).renewal.issued is not None
    house.clock.now = NOW + 3000.9
    if way == "left":
        await house.sessions.leave(session, aud)
    else:
        await house.sessions.revoke(Scope.APPLICATION, aud)

    # It polls twice a second.
    house.clock.now = NOW + 3001.4
    verdict = await check(other, "grafana", token)
    assert verdict.renewal.issued is not None
    await other.sessions.poll()

    for text in (token, verdict.renewal.issued.text):
        assert (await check(other, "grafana", text)).decision.reason is Reason.SESSION_ENDED


@pytest.mark.parametrize("way", ["left", "revoked"])
@pytest.mark.parametrize("apart_seconds", [-50, 0, 50])
async def test_clocks_that_differ_save_no_token_from_its_end_and_cost_nobody_the_next(
    house: House, way: str, apart_seconds: int
) -> None:
    """A token from a machine whose clock is ahead looks younger than the logout that ended it, and the next one, from
    a machine whose clock is behind, looks older."""
    session = make_session(created_at=NOW - 60)
    await house.sessions.add(session)
    aud = house.index.get_application("grafana").aud
    house.clock.now = NOW + apart_seconds
    token = issue(house, session, "grafana")
    house.clock.now = NOW
    assert (await check(house, "grafana", token)).decision.outcome is Outcome.ALLOW

    if way == "left":
        await house.sessions.leave(session, aud)
    else:
        await house.sessions.revoke(Scope.APPLICATION, aud)

    assert (await check(house, "grafana", token)).decision.reason is Reason.SESSION_ENDED
    living = await house.sessions.find(session.id)
    assert living is not None
    house.clock.now = NOW - apart_seconds
    following = issue(house, living, "grafana")
    house.clock.now = NOW
    assert (await check(house, "grafana", following)).decision.outcome is Outcome.ALLOW
    assert (await check(house, "grafana", token)).decision.reason is Reason.SESSION_ENDED


async def test_nobody_who_is_refused_or_brings_a_header_gets_a_token(house: House) -> None:
    session = make_session(identity=make_identity("jane@example.net"))
    await house.sessions.add(session)
    application = house.index.get_application("grafana")
    token = house.tokens.issue_application_token(
        session, audience=application.aud, expires_at=NOW + HOUR, policy_id=None
    )
    friend = make_session("friend")
    await house.sessions.add(friend)
    header = issue(house, friend, "grafana")
    house.clock.now = NOW + 3000

    refused = await check(house, "grafana", token)
    assert (refused.decision.outcome, refused.renewal.issued) == (Outcome.DENY, None)
    for way in ({"access_token": header}, {"authorization": f"Bearer {header}"}):
        verdict = await house.access.check(make_request("https://grafana.example.com/", **way))
        assert (verdict.decision.outcome, verdict.renewal.issued) == (Outcome.ALLOW, None)
