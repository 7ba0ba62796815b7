"""A provider's word that somebody has logged out there: spent when it is done, and heard by logins under way."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from authd.errors import LoginError, ProviderError, ProviderLiedError, StoreUnavailableError
from authd.in_force import Policies
from authd.logout import Logout
from authd.model import LogoutToken, Session, Vouched
from tests.authd.hand_made_provider import HandMadeProvider
from tests.authd.house import NOW, House, make_client, make_identity, make_session


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
        await logout.end_by_provider("token")
    monkeypatch.setattr(house.sessions, "end", end)

    assert await logout.end_by_provider("token") == 1
    assert await house.sessions.find(session.id) is None
    again = make_session("another", provider_session="sid-1")
    await house.sessions.add(again)
    assert await logout.end_by_provider("token") == 0, "what is spent ends nothing any more"
    assert await house.sessions.find(again.id) == again


@pytest.mark.parametrize(("began_at", "is_in"), [(NOW - 5, False), (NOW, False), (NOW + 1, True)])
async def test_a_login_under_way_hears_of_it(house: House, corp: Telling, began_at: int, is_in: bool) -> None:
    await make_logout(house).end_by_provider("token")
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

    assert await make_logout(house).end_by_provider("token") == 1

    partner.token = None
    with pytest.raises(ProviderLiedError):
        await make_logout(house).end_by_provider("token")


async def test_only_that_providers_sessions_of_that_person_end(house: House, corp: Telling) -> None:
    theirs = make_session("theirs", provider_session="sid-1")
    elsewhere = make_session("elsewhere", identity=make_identity(provider_id="partner"), provider_session="sid-1")
    other = make_session("other", provider_session="sid-2")
    for session in (theirs, elsewhere, other):
        await house.sessions.add(session)
    corp.token = LogoutToken("jti-2", theirs.identity.subject, "", NOW + 120)

    assert await make_logout(house).end_by_provider("token") == 2

    assert await house.sessions.find("elsewhere") == elsewhere


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
