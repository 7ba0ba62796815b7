"""A provider's word that somebody has logged out there: spent when it is done, and heard by logins under way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from authd.errors import (
    LoginError,
    LoginLimitError,
    ProviderError,
    ProviderLiedError,
    ProviderUnavailableError,
    StoreUnavailableError,
)
from authd.in_force import Policies
from authd.limits import LogoutLimits
from authd.logout import Logout
from authd.model import LogoutToken, Session, Vouched
from authd.state.base import MOST_OWNED
from tests.authd.hand_made_provider import HandMadeProvider
from tests.authd.house import NOW, House, make_client, make_identity, make_session

ADDRESS = ip_address("192.0.2.80")
OF_ALICE = LogoutToken("jti-2", make_identity().subject, "", NOW + 120)


@dataclass
class Telling(HandMadeProvider):
    """Its logout tokens are read as the test wants."""

    token: LogoutToken | None = None
    error: ProviderError | None = None

    async def read_logout_token(self, unverified_text: str) -> LogoutToken | None:
        if self.error:
            raise self.error
        return self.token


@pytest.fixture
def corp(house: House) -> Telling:
    made = Telling(make_identity, token=LogoutToken("jti-1", "", "sid-1", NOW + 120))
    house.providers["corp"] = made
    return made


def make_logout(house: House) -> Logout:
    return Logout(
        policies=lambda: Policies(house.config, house.index, house.providers),
        sessions=house.sessions,
        records=house.records,
        limits=LogoutLimits(house.store, limits=lambda: (3, 99, 60), clock=house.clock),
        clock=house.clock,
    )


async def test_a_fault_in_between_leaves_work_for_the_providers_next_try(
    house: House, corp: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(provider_session="sid-1")
    await house.sessions.add(session)
    logout, end = make_logout(house), house.sessions.end

    async def fail(session: Session) -> None:
        raise StoreUnavailableError("gone for a moment")

    monkeypatch.setattr(house.sessions, "end", fail)
    with pytest.raises(StoreUnavailableError):
        await logout.end_by_provider("token", ADDRESS)
    monkeypatch.setattr(house.sessions, "end", end)

    assert await logout.end_by_provider("token", ADDRESS) == 1
    assert await house.sessions.find(session.id) is None
    again = make_session("another", provider_session="sid-1")
    await house.sessions.add(again)
    assert await logout.end_by_provider("token", ADDRESS) == 0, "what is spent ends nothing any more"
    assert await house.sessions.find(again.id) == again


@pytest.mark.parametrize("token", [LogoutToken("jti-1", "", "sid-1", NOW + 120), OF_ALICE])
@pytest.mark.parametrize(("began_at", "is_in"), [(NOW - 5, False), (NOW, False), (NOW + 1, True)])
async def test_a_login_under_way_hears_of_it(
    house: House, corp: Telling, token: LogoutToken, began_at: int, is_in: bool
) -> None:
    corp.token = token
    await make_logout(house).end_by_provider("token", ADDRESS)
    house.clock.now = NOW + 2
    vouched = Vouched(make_identity(), session_id="sid-1")
    if is_in:
        session, _ = await house.login._open_session(vouched, make_client(), began_at)
        assert await house.sessions.find(session.id) == session
        return
    with pytest.raises(LoginError) as caught:
        await house.login._open_session(vouched, make_client(), began_at)
    assert caught.value.code == "session_ended"
    assert await house.sessions.list_of(make_identity().subject) == []


async def test_another_client_of_the_same_issuer_is_asked_too(house: House, corp: Telling) -> None:
    """The first provider of that issuer says that the token is for another client."""
    partner = Telling(make_identity, token=corp.token)
    house.providers["partner"] = partner
    corp.error = ProviderLiedError("corp", "id_token_audience", "is for another client")
    session = make_session(identity=make_identity(provider_id="partner"), provider_session="sid-1")
    await house.sessions.add(session)

    assert await make_logout(house).end_by_provider("token", ADDRESS) == 1

    partner.token = None
    with pytest.raises(ProviderLiedError):
        await make_logout(house).end_by_provider("token", ADDRESS)


async def test_only_that_providers_sessions_of_that_person_end(house: House, corp: Telling) -> None:
    theirs = make_session("theirs", provider_session="sid-1")
    elsewhere = make_session("elsewhere", identity=make_identity(provider_id="partner"), provider_session="sid-1")
    other = make_session("other", provider_session="sid-2")
    for session in (theirs, elsewhere, other):
        await house.sessions.add(session)
    corp.token = OF_ALICE

    assert await make_logout(house).end_by_provider("token", ADDRESS) == 2

    assert await house.sessions.find("elsewhere") == elsewhere


@pytest.mark.parametrize("by", ["subject", "session"])
async def test_all_of_more_sessions_than_a_store_lists_at_once_end(house: House, corp: Telling, by: str) -> None:
    many = [
        make_session(f"many-{n}", provider_session="sid-1", created_at=NOW - n % 7) for n in range(2 * MOST_OWNED + 7)
    ]
    elsewhere = make_session("elsewhere", identity=make_identity(provider_id="partner"), provider_session="sid-1")
    for page in range(0, len(many), 50):
        await asyncio.gather(*map(house.sessions.add, many[page : page + 50]))
    await house.sessions.add(elsewhere)
    corp.token = OF_ALICE if by == "subject" else LogoutToken("jti-3", "", "sid-1", NOW + 120)

    assert await make_logout(house).end_by_provider("token", ADDRESS) == len(many)

    assert await house.sessions.list_all_of(elsewhere.identity.subject) == [elsewhere]
    assert await house.sessions.find("many-0") is None


async def test_a_token_that_names_both_ends_that_session_of_that_person(house: House, corp: Telling) -> None:
    theirs = make_session("theirs", provider_session="sid-1")
    other = make_session("other", provider_session="sid-2")
    johns = make_session("johns", make_identity("john@example.com"), provider_session="sid-1")
    for session in (theirs, other, johns):
        await house.sessions.add(session)
    corp.token = LogoutToken("jti-4", theirs.identity.subject, "sid-1", NOW + 120)

    assert await make_logout(house).end_by_provider("token", ADDRESS) == 1

    assert await house.sessions.find("theirs") is None
    assert await house.sessions.find("other") == other
    assert await house.sessions.find("johns") == johns


async def test_who_sends_bad_tokens_of_ours_is_not_listened_to_for_a_while(house: House, corp: Telling) -> None:
    logout, elsewhere = make_logout(house), ip_address("192.0.2.81")
    corp.error = ProviderLiedError("corp", "token_signature", "is signed by nobody")
    for _ in range(3):
        with pytest.raises(ProviderLiedError):
            await logout.end_by_provider("token", ADDRESS)
    corp.error = None
    with pytest.raises(LoginLimitError) as caught:
        await logout.end_by_provider("token", ADDRESS)
    assert (caught.value.kind, caught.value.retry_after_seconds) == ("logout_token", 60)
    assert await logout.end_by_provider("token", elsewhere) == 0

    house.clock.now = NOW + 60
    assert await logout.end_by_provider("token", ADDRESS) == 0


async def test_good_tokens_and_those_that_are_nobodys_are_not_counted(house: House, corp: Telling) -> None:
    """A provider ends many sessions at once, and one of many customers sends other customers' tokens too."""
    logout = make_logout(house)
    for number in range(20):
        corp.token = LogoutToken(f"jti-{number}", "somebody", "", NOW + 120)
        await logout.end_by_provider("token", ADDRESS)
    corp.token = None
    for _ in range(20):
        with pytest.raises(ProviderError, match="no provider of ours"):
            await logout.end_by_provider("token", ADDRESS)
    corp.error = ProviderUnavailableError("corp", "timeout", "does not answer")
    for _ in range(20):
        with pytest.raises(ProviderUnavailableError):
            await logout.end_by_provider("token", ADDRESS)


async def test_a_person_ends_all_of_more_sessions_than_a_store_lists_at_once(house: House) -> None:
    own = make_session("own")
    for session in (own, *(make_session(f"many-{n}") for n in range(MOST_OWNED + 3))):
        await house.sessions.add(session)

    assert await make_logout(house).end_own(own, "others")

    assert await house.sessions.list_all_of(own.identity.subject) == [own]
    assert await make_logout(house).end_own(own, "others") is False


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://grafana.example.com/a?b=c", "https://grafana.example.com/a?b=c"),
        ("https://GRAFANA.example.com", "https://grafana.example.com/"),
        ("https://grafana.example.com%2f@evil.example/", None),
        ("https://evil.example%2fgrafana.example.com/", None),
        ("https://evil.example;.example.com/", None),
        ("https://grafana.example.com.evil.example/", None),
        ("https://grafana.example.com:8443/", None),
        ("https:grafana.example.com", None),
        ("//grafana.example.com/", None),
        ("/", None),
        ("twice", None),
    ],
)
def test_a_logout_leads_to_hosts_of_ours_alone(house: House, url: str, kept: str | None) -> None:
    assert make_logout(house).find_return_url(url) == kept
