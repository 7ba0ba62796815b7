"""Asking the provider again: changed groups count, who is unknown is out, and no fault of ours logs anybody out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from authd.errors import ConfigError, ProviderLiedError, ProviderRefusedError, ProviderUnavailableError
from authd.identity_refresh import RETRY_SECONDS, IdentityRefresh
from authd.in_force import Policies
from authd.model import Identity, Session, Vouched
from authd.policy.index import build_index
from authd.sessions import Sessions
from authd.state.records import ProviderTokens
from tests.authd.config.samples import PROVIDER, parse_values
from tests.authd.hand_made_provider import HandMadeProvider
from tests.authd.house import NOW, House, make_identity, make_session

HOUR = 3600


@dataclass
class Refreshing(HandMadeProvider):
    """Says what the test wants, and remembers the tokens that it was shown."""

    says: list[Vouched | Exception] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    async def refresh(self, identity: Identity, refresh_token: str) -> Vouched:
        self.shown.append(refresh_token)
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


@pytest.fixture
def provider(house: House) -> Refreshing:
    made = Refreshing(make_identity)
    house.providers["corp"] = made
    return made


@pytest.fixture
async def session(house: House) -> Session:
    session = make_session(refresh_at=NOW + HOUR)
    await house.sessions.add(session)
    await house.records.put_provider_tokens(session, ProviderTokens("first", "hint"))
    return session


def make_refresh(house: House, sessions: Sessions) -> IdentityRefresh:
    refresh = IdentityRefresh(
        policies=lambda: Policies(house.config, house.index, house.providers),
        sessions=sessions,
        records=house.records,
        clock=house.clock,
    )
    sessions._on_old_identity = refresh.note
    return refresh


async def use(house: House, refresh: IdentityRefresh, session: Session, sessions: Sessions | None = None) -> None:
    """A request of the session, and the worker's next round."""
    await (sessions or house.sessions).find(session.id)
    await refresh.run()


async def test_nothing_is_asked_before_its_time_and_then_what_changed_counts_everywhere(
    house: House, provider: Refreshing, session: Session
) -> None:
    refresh, other = make_refresh(house, house.sessions), house.make_sessions()
    await other.start()
    assert await other.find(session.id) == session
    await use(house, refresh, session)
    assert provider.shown == []
    provider.says = [Vouched(make_identity(groups=("admins",)), refresh_token="second")]
    house.clock.now = NOW + HOUR
    assert not house.sessions.is_alive(session), "what is remembered must not hide that it is time"

    await use(house, refresh, session)
    await other.poll()

    for worker in (house.sessions, other):
        found = await worker.find(session.id)
        assert found is not None
        assert (found.identity.groups, found.refresh_at) == (("admins",), NOW + 2 * HOUR)
        assert (found.created_at, found.expires_at) == (session.created_at, session.expires_at)
    provider.says = [Vouched(make_identity())]
    house.clock.now = NOW + 2 * HOUR + 1
    await use(house, refresh, session)
    assert provider.shown == ["first", "second"]
    tokens = await house.records.find_provider_tokens(session.id, now=NOW)
    assert tokens == ProviderTokens("second", "hint"), "a provider that does not rotate goes on with the old one"


async def test_groups_that_could_not_be_had_are_asked_for_soon(
    house: House, provider: Refreshing, session: Session
) -> None:
    refresh = make_refresh(house, house.sessions)
    unknown = make_identity(groups=(), groups_are_complete=False)
    provider.says = [Vouched(unknown, is_partial=True), Vouched(make_identity(groups=("admins",)))]
    house.clock.now = NOW + HOUR

    await use(house, refresh, session)

    found = await house.sessions.find(session.id)
    assert found is not None
    assert (found.identity, found.refresh_at) == (unknown, NOW + HOUR + 60)
    house.clock.now = NOW + HOUR + 61
    await use(house, refresh, session)
    found = await house.sessions.find(session.id)
    assert found is not None
    assert (found.identity.groups, found.refresh_at) == (("admins",), NOW + HOUR + 61 + HOUR)


@pytest.mark.parametrize(
    "cause", ["invalid_grant", "other_subject", "tenant_not_allowed", "token_revoked", "suspended"]
)
async def test_whom_the_provider_does_not_know_is_out(
    house: House, provider: Refreshing, session: Session, cause: str
) -> None:
    refresh = make_refresh(house, house.sessions)
    provider.says = [ProviderRefusedError("corp", cause, "no")]
    house.clock.now = NOW + HOUR

    await use(house, refresh, session)

    assert await house.sessions.find(session.id) is None


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailableError("corp", "timeout", "does not answer"),
        ProviderRefusedError("corp", "invalid_client", "the client secret was replaced"),
        ProviderRefusedError("corp", "unauthorized_client", "not for this client"),
    ],
)
async def test_a_provider_that_cannot_say_logs_nobody_out_and_is_asked_again_later(
    house: House, provider: Refreshing, session: Session, error: Exception
) -> None:
    refresh = make_refresh(house, house.sessions)
    provider.says = [error, Vouched(make_identity(groups=("admins",)))]
    house.clock.now = NOW + HOUR
    for second in range(RETRY_SECONDS):
        house.clock.now = NOW + HOUR + second
        await use(house, refresh, session)
    assert len(provider.shown) == 1
    assert await house.sessions.find(session.id) == session

    house.clock.now = NOW + HOUR + RETRY_SECONDS + 1
    await use(house, refresh, session)

    found = await house.sessions.find(session.id)
    assert found is not None
    assert found.identity.groups == ("admins",)


async def test_one_of_all_workers_asks(house: House, provider: Refreshing, session: Session) -> None:
    workers = [house.sessions, house.make_sessions(), house.make_sessions()]
    for worker in workers[1:]:
        await worker.start()
    provider.says = [Vouched(make_identity())] * 3
    house.clock.now = NOW + HOUR

    for worker in workers:
        await use(house, make_refresh(house, worker), session, worker)

    assert len(provider.shown) == 1


async def test_a_worker_that_died_while_it_asked_costs_nobody_the_session(
    house: House, provider: Refreshing, session: Session
) -> None:
    """The provider has replaced the token, and nobody has written the new one."""
    await house.records.put_provider_tokens(session, ProviderTokens("spent", "hint", is_asking=True))
    provider.says = [ProviderRefusedError("corp", "invalid_grant", "spent")]
    house.clock.now = NOW + HOUR
    refresh = make_refresh(house, house.sessions)

    await use(house, refresh, session)

    found = await house.sessions.find(session.id)
    assert found == replace(session, refresh_at=NOW + 2 * HOUR)
    assert await house.records.find_provider_tokens(session.id, now=NOW) == ProviderTokens(None, "hint")


async def test_nothing_of_the_tokens_can_be_read_in_the_store(house: House, session: Session) -> None:
    await house.records.put_provider_tokens(session, ProviderTokens("a-secret-refresh-token", "an-id-token"))
    content = (house.directory / "authd.db-wal").read_bytes()
    assert b"a-secret-refresh-token" not in content
    assert b"an-id-token" not in content
    assert "a-secret" not in repr(ProviderTokens("a-secret", None))


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailableError("corp", "timeout", "answered too late, after it had replaced the token"),
        ProviderLiedError("corp", "refresh_empty", "an answer with a new token that we could not read"),
    ],
)
async def test_a_provider_that_may_have_replaced_the_token_logs_nobody_out(
    house: House, provider: Refreshing, session: Session, error: Exception
) -> None:
    refresh = make_refresh(house, house.sessions)
    provider.says = [error, ProviderRefusedError("corp", "invalid_grant", "used before")]
    for second in (0, RETRY_SECONDS + 1):
        house.clock.now = NOW + HOUR + second
        await use(house, refresh, session)

    assert provider.shown == ["first", "first"]
    assert await house.sessions.find(session.id) is not None
    assert await house.records.find_provider_tokens(session.id, now=NOW) == ProviderTokens(None, "hint")


async def test_a_token_that_was_replaced_before_a_failure_is_the_one_to_go_on_with(
    house: House, provider: Refreshing, session: Session
) -> None:
    refresh = make_refresh(house, house.sessions)
    error = ProviderUnavailableError("corp", "timeout", "userinfo did not arrive")
    error.replaced_token = "second"
    provider.says = [error, ProviderRefusedError("corp", "invalid_grant", "gone")]
    for second in (0, RETRY_SECONDS + 1):
        house.clock.now = NOW + HOUR + second
        await use(house, refresh, session)

    assert provider.shown == ["first", "second"]
    assert await house.sessions.find(session.id) is None, "a refusal of the token that is good is a word"


@pytest.mark.parametrize(
    ("everywhere", "own", "is_partial", "seconds"),
    [
        ("1h", None, False, HOUR),
        ("1h", "10m", False, 600),
        ("1h", "0s", False, 0),
        ("1h", "0s", True, 0),
        ("0s", "10m", False, 600),
        ("0s", None, False, 0),
        ("1h", "10m", True, 60),
    ],
)
def test_a_provider_may_be_asked_more_or_less_often_than_the_others(
    everywhere: str, own: str | None, is_partial: bool, seconds: int
) -> None:
    entry = PROVIDER if own is None else PROVIDER | {"identity_refresh": own}
    other = PROVIDER | {"id": "other", "identity_refresh": "2m"}
    config = parse_values(identity_refresh=everywhere, identity_providers=[other, entry])

    refresh_at = Policies(config, build_index(config), {}).refresh_at(
        Vouched(make_identity(), is_partial=is_partial), NOW
    )

    assert refresh_at == (NOW + seconds if seconds else 0)


def test_a_code_by_mail_cannot_be_asked_again() -> None:
    pin = {"id": "guests", "type": "onetimepin", "mail": {"server": "smtp.example.com", "sender": "login@example.com"}}
    with pytest.raises(ConfigError, match="identity_refresh"):
        parse_values(identity_providers=[pin | {"identity_refresh": "5m"}])
