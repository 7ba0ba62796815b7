"""The check, from the request to the verdict: which application, who asks, what today's policies say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from authd.access import locate
from authd.errors import StoreUnavailableError
from authd.model import Decision, Outcome, Reason
from tests.authd.house import CONFIG, NOW, House, make_identity, make_request, make_session, with_cookie


async def ask(house: House, url: str = "https://grafana.example.com/", **changes: Any) -> tuple[Outcome, Reason]:
    decision = (await house.access.check(make_request(url, **changes))).decision
    return decision.outcome, decision.reason


async def test_somebody_with_a_session_is_let_in_with_their_token(house: House) -> None:
    session, token = await house.open_session()

    verdict = await house.access.check(make_request(**with_cookie(token)))

    assert verdict.decision.outcome is Outcome.ALLOW
    assert verdict.decision.policy_name == "Staff"
    assert (verdict.session, verdict.credential.token) == (session, token)


async def test_somebody_without_anything_has_to_log_in(house: House) -> None:
    assert await ask(house) == (Outcome.LOGIN, Reason.NO_CREDENTIAL)
    assert await house.store.size() == 0


async def test_todays_policies_count_and_not_those_of_the_login(house: House) -> None:
    _, token = await house.open_session()
    assert await ask(house, **with_cookie(token)) == (Outcome.ALLOW, Reason.POLICY_ALLOW)

    house.load(CONFIG.replace("email_domain: example.com", "email_domain: example.net"))

    assert await ask(house, **with_cookie(token)) == (Outcome.DENY, Reason.NO_POLICY_MATCHED)


@pytest.mark.parametrize(
    ("claimed", "url", "path", "expected"),
    [
        ("", "https://grafana.example.com/", "/", "grafana"),
        ("grafana", "https://grafana.example.com/", "/", "grafana"),
        ("wiki", "https://grafana.example.com/", "/", Reason.APPLICATION_MISMATCH),
        ("nobody", "https://grafana.example.com/", "/", Reason.APPLICATION_MISMATCH),
        ("grafana", "https://other.example.com/", "/", Reason.APPLICATION_UNKNOWN),
        ("root", "https://shared.example.com/admin/x", "/admin/x", Reason.APPLICATION_MISMATCH),
        ("admin", "https://shared.example.com/", "/", Reason.APPLICATION_MISMATCH),
        ("admin", "https://shared.example.com/admin", "/admin", "admin"),
        ("root", "https://shared.example.com/administrator", "/administrator", "root"),
        ("grafana", "https://grafana.example.com/", None, "grafana"),
        ("", "https://grafana.example.com/", None, Reason.APPLICATION_MISMATCH),
        ("root", "https://shared.example.com/", None, Reason.APPLICATION_MISMATCH),
        ("", "https://other.example.com/", None, Reason.APPLICATION_UNKNOWN),
        ("grafana", "https://grafana.example.com/a", "/b", Reason.MALFORMED_REQUEST),
        ("grafana", "https://grafana.example.com/a%2Fb", "/a/b", "grafana"),
        ("", "https://grafana.example.com/a%2Fb", "/a/b", "grafana"),
        ("grafana", "https://grafana.example.com/a/../b;c", "/b;c", "grafana"),
        ("root", "https://shared.example.com/x/..%2fadmin", "/admin", Reason.APPLICATION_MISMATCH),
        ("root", "https://shared.example.com/admin%2f..", "/", Reason.AMBIGUOUS_URL),
        ("root", "https://shared.example.com/admin/delete/../..", "/", Reason.AMBIGUOUS_URL),
        ("root", "https://shared.example.com//admin/./../y", "/y", Reason.AMBIGUOUS_URL),
        ("root", "https://shared.example.com/x/..;/admin", "/x/..;/admin", Reason.AMBIGUOUS_URL),
        ("root", "https://shared.example.com/x/../y", "/y", "root"),
        ("root", "https://shared.example.com/x%2e%2e/admin", "/x../admin", "root"),
        ("admin", "https://shared.example.com/admin//x", "/admin/x", Reason.AMBIGUOUS_URL),
        ("admin", "https://shared.example.com/admin/%C3%BC", "/admin/ü", "admin"),
    ],
)
def test_host_path_and_the_name_that_nginx_claims_have_to_agree(
    house: House, claimed: str, url: str, path: str | None, expected: str | Reason
) -> None:
    found = locate(house.index, make_request(url, claimed_application=claimed, path=path))

    if isinstance(found, Decision):
        assert (found.outcome, found.reason) == (Outcome.DENY, expected)
    else:
        assert found.id == expected


async def test_a_public_application_needs_neither_token_nor_store(house: House) -> None:
    await house.store.close()

    outcome = await ask(house, "https://public.example.com/", **with_cookie("nonsense"))

    assert outcome == (Outcome.BYPASS, Reason.POLICY_BYPASS)


async def test_a_preflight_passes_only_where_that_is_said(house: House) -> None:
    assert await ask(house, "https://hooks.example.com/", is_preflight=True) == (
        Outcome.BYPASS,
        Reason.PREFLIGHT_BYPASS,
    )
    assert await ask(house, "https://hooks.example.com/") == (Outcome.LOGIN, Reason.NO_CREDENTIAL)
    assert await ask(house, is_preflight=True) == (Outcome.LOGIN, Reason.NO_CREDENTIAL)


async def test_a_session_that_was_ended_is_told_from_one_that_never_was(house: House) -> None:
    session, token = await house.open_session()
    unknown = house.issue(make_session("never-was"))

    assert await ask(house, **with_cookie(unknown)) == (Outcome.LOGIN, Reason.SESSION_UNKNOWN)
    await house.sessions.end(session)
    assert await ask(house, **with_cookie(token)) == (Outcome.LOGIN, Reason.SESSION_ENDED)


async def test_a_token_of_somebody_else_does_not_take_over_a_session(house: House) -> None:
    """Whoever could write a session row under a known id would else get its tokens."""
    session, _ = await house.open_session()
    foreign = house.issue(replace(session, identity=make_identity("mallory@example.com")))

    assert await ask(house, **with_cookie(foreign)) == (Outcome.LOGIN, Reason.SESSION_UNKNOWN)


async def test_a_token_ends_at_its_time_though_it_was_verified_before(house: House) -> None:
    _, token = await house.open_session()
    assert (await ask(house, **with_cookie(token)))[0] is Outcome.ALLOW
    house.clock.now = NOW + 3599
    assert (await ask(house, **with_cookie(token)))[0] is Outcome.ALLOW

    house.clock.now = NOW + 3600

    assert await ask(house, **with_cookie(token)) == (Outcome.LOGIN, Reason.TOKEN_EXPIRED)


async def test_a_remembered_token_of_one_application_is_not_remembered_for_another(house: House) -> None:
    _, token = await house.open_session("grafana")
    assert (await ask(house, **with_cookie(token)))[0] is Outcome.ALLOW

    assert await ask(house, "https://wiki.example.com/", **with_cookie(token)) == (
        Outcome.LOGIN,
        Reason.TOKEN_AUDIENCE,
    )


async def test_a_session_of_a_provider_that_an_application_does_not_allow_is_not_enough(house: House) -> None:
    identity = make_identity(provider_id="partner")
    _, token = await house.open_session("wiki", identity=identity)

    assert await ask(house, "https://wiki.example.com/", **with_cookie(token)) == (
        Outcome.LOGIN,
        Reason.PROVIDER_NOT_ALLOWED,
    )


async def test_a_remembered_session_costs_no_read_of_the_store(house: House) -> None:
    _, token = await house.open_session()
    await house.store.close()

    for _ in range(3):
        assert (await ask(house, **with_cookie(token)))[0] is Outcome.ALLOW
    with pytest.raises(StoreUnavailableError):
        await ask(house, **with_cookie(house.issue(make_session("not-remembered"))))


async def test_two_living_sessions_of_different_people_are_nobodys(house: House) -> None:
    _, alice = await house.open_session()
    _, bob = await house.open_session(id_="session-of-bob", identity=make_identity("bob@example.com"))

    header = f"CF_AUTHORIZATION={alice}; cf_authorization={bob}"
    assert await ask(house, cookie_header=header, nginx_session=alice) == (Outcome.DENY, Reason.CONFLICTING_SESSIONS)


async def test_a_dead_cookie_beside_a_living_one_does_no_harm(house: House) -> None:
    _, alice = await house.open_session()

    for header in (f"CF_AUTHORIZATION=dead; CF_Authorization={alice}", f"CF_Authorization={alice}; CF_AUTHORIZATION=x"):
        verdict = await house.access.check(make_request(cookie_header=header, nginx_session=header[17:30]))
        assert verdict.decision.outcome is Outcome.ALLOW
        assert house.access.cacheable_until(verdict) == 0


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"access_token": "{}"}, Outcome.ALLOW),
        ({"authorization": "Bearer {}"}, Outcome.ALLOW),
        ({"authorization": "bearer {}"}, Outcome.ALLOW),
        ({"authorization": "Basic {}"}, Outcome.LOGIN),
        ({"authorization": "Bearer x{}"}, Outcome.LOGIN),
        ({"authorization": "{}"}, Outcome.LOGIN),
        ({"cookie_header": "xCF_AUTHORIZATION={}"}, Outcome.LOGIN),
        ({"cookie_header": "CF_AUTHORIZATIONx={}"}, Outcome.LOGIN),
        ({"cookie_header": 'CF_AUTHORIZATION="{}"'}, Outcome.LOGIN),
        ({"nginx_session": "{}"}, Outcome.LOGIN),
    ],
)
async def test_where_a_token_may_stand(house: House, headers: dict[str, str], outcome: Outcome) -> None:
    _, token = await house.open_session()

    changes = {name: value.format(token) for name, value in headers.items()}

    assert (await ask(house, **changes))[0] is outcome


@pytest.mark.parametrize(
    ("changes", "is_cacheable"),
    [
        ({}, True),
        ({"cookie_header": "a=b;\tCF_AUTHORIZATION={token}", "nginx_session": ""}, False),
        ({"cookie_header": "CF_AUTHORIZATION={token}; cf_authorization={token}"}, False),
        ({"cookie_header": "CF_AUTHORIZATION={token}", "nginx_session": "another"}, False),
        ({"cookie_header": "CF_AUTHORIZATION={token}", "access_token": "dead"}, False),
        ({"cookie_header": "", "nginx_session": "", "access_token": "{token}"}, True),
        ({"cookie_header": "", "nginx_session": "", "authorization": "Bearer {token}"}, True),
    ],
)
async def test_nginx_may_remember_what_rests_on_its_key_alone(
    house: House, changes: dict[str, str], is_cacheable: bool
) -> None:
    """reference/nginx-contract.md 4.6: else the next visitor with the same key would be let in as somebody else."""
    _, token = await house.open_session()
    request = with_cookie(token) | {name: value.format(token=token) for name, value in changes.items()}

    verdict = await house.access.check(make_request(**request))

    assert verdict.decision.outcome is Outcome.ALLOW
    assert house.access.cacheable_until(verdict) == (NOW if is_cacheable else 0)


async def test_nginx_may_not_remember_across_paths_where_the_path_decides(house: House) -> None:
    session, token = await house.open_session("root")
    request = make_request("https://shared.example.com/x", **with_cookie(token))

    stale = await house.access.check(replace(request, scope="shared.example.com"))
    fresh = await house.access.check(replace(request, scope="shared.example.com/x"))

    assert stale.session == fresh.session == session
    assert (house.access.cacheable_until(stale), house.access.cacheable_until(fresh)) == (0, NOW)


async def test_a_verdict_holds_until_session_token_or_policies_change(house: House) -> None:
    session, token = await house.open_session()
    verdict = await house.access.check(make_request(**with_cookie(token)))
    assert house.access.still_holds(verdict)

    house.clock.now = NOW + 3600
    assert not house.access.still_holds(verdict)
    house.clock.now = NOW
    house.load(CONFIG)
    assert not house.access.still_holds(verdict)
    verdict = await house.access.check(make_request(**with_cookie(token)))
    assert house.access.still_holds(verdict)
    await house.sessions.end(session)
    assert not house.access.still_holds(verdict)


async def test_a_verdict_about_nobody_never_holds(house: House) -> None:
    for url in ("https://grafana.example.com/", "https://public.example.com/", "https://other.example.com/"):
        assert not house.access.still_holds(await house.access.check(make_request(url)))


async def test_a_decision_is_not_remembered_beyond_its_token(house: House) -> None:
    house.access._decision_cache_seconds = 60
    _, token = await house.open_session()
    house.clock.now = NOW + 3590

    verdict = await house.access.check(make_request(**with_cookie(token)))

    # The browser is brought the next token, and whoever does not take it is let in until the old one ends.
    assert house.access.cacheable_until(verdict) == 0
    house.clock.now = NOW + 3596
    verdict = await house.access.check(make_request(**with_cookie(token)))
    assert house.access.cacheable_until(verdict) == NOW + 3599


async def test_who_asks_can_be_found_without_deciding(house: House) -> None:
    session, token = await house.open_session(identity=make_identity("mallory@example.net"))
    grafana = house.index.get_application("grafana")

    assert await house.access.find_session(make_request(**with_cookie(token)), grafana) == session
    assert await house.access.find_session(make_request(), grafana) is None
