"""F12 to F14: an edge's keys are there when they are needed, whatever it does, and nobody can make us ask often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from authd.errors import IssuerUnavailableError, StoreUnavailableError, TokenError
from authd.issuers.access_tokens import ACCESS_ALGORITHMS
from authd.issuers.key_source import FETCH_SECONDS, FRESH_SECONDS, USABLE_SECONDS, KeyPlace, KeySource
from authd.jose import UnverifiedToken, parse_unverified_token
from tests.authd.house import Clock
from tests.authd.idp.logins import until
from tests.authd.issuers.edge_tokens import TEAM, sign
from tests.forge import key_set_document, public_jwk, rsa_key
from tests.idp_server import FakeProvider


@dataclass
class Store:
    """The place that workers share. Down while `is_down`."""

    clock: Clock
    is_down: bool = False
    left: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    fetched_at: dict[str, float] = field(default_factory=dict)

    async def find_key_set(self, name: str) -> tuple[int, bytes] | None:
        self._ask()
        return self.left.get(name)

    async def leave_key_set(self, name: str, fetched_at: int, document: bytes, *, expires_at: int) -> None:
        self._ask()
        self.left[name] = fetched_at, document

    async def may_fetch(self, name: str) -> bool:
        self._ask()
        if self.clock() - self.fetched_at.get(name, float("-inf")) < FETCH_SECONDS:
            return False
        self.fetched_at[name] = self.clock()
        return True

    def _ask(self) -> None:
        if self.is_down:
            raise StoreUnavailableError("the store did not answer")


@dataclass
class World:
    """An edge, a store, a clock, and workers."""

    publisher: FakeProvider
    clock: Clock = field(default_factory=Clock)
    sources: list[KeySource] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(self.clock)

    def start_worker(self, url: str | None = None) -> KeySource:
        place = KeyPlace(TEAM, url or f"{self.publisher.issuer}/jwks", None, ACCESS_ALGORITHMS)
        source = KeySource(
            place, shared=self.store, may_fetch=self.store.may_fetch, clock=self.clock, monotonic=self.clock
        )
        self.sources.append(source)
        return source

    @property
    def fetches(self) -> int:
        return self.publisher.counts["/jwks"]


@pytest.fixture
async def world(publisher: FakeProvider) -> AsyncIterator[World]:
    world = World(publisher)
    yield world
    for source in world.sources:
        source.close()


def token(key: str = "provider-1") -> UnverifiedToken:
    return parse_unverified_token(sign(key=key))


async def tend(source: KeySource, done: Callable[[], bool] = lambda: True) -> None:
    """Let what is due come to its end."""
    source.tend()
    await until(lambda: source._renewal is None and done())


async def knows(source: KeySource, key: str) -> bool:
    try:
        return (await source.find_key(token(key))).key_id == key
    except TokenError:
        return False


async def test_keys_are_there_before_anybody_asks(world: World) -> None:
    source = world.start_worker()
    await tend(source)
    assert await knows(source, "provider-1")
    assert world.fetches == 1
    assert source.age_seconds == 0


async def test_keys_are_renewed_without_a_request(world: World) -> None:
    source = world.start_worker()
    await tend(source)
    world.publisher.rotate(keep_old=True)
    world.clock.now += FRESH_SECONDS - 1
    await tend(source)
    assert world.fetches == 1
    world.clock.now += 1
    await tend(source)
    assert world.fetches == 2
    # Told apart by what they were before: no look is needed.
    assert await knows(source, "provider-2")
    assert await knows(source, "provider-1")
    assert world.fetches == 2


async def test_two_workers_fetch_once(world: World) -> None:
    first, second = world.start_worker(), world.start_worker()
    await tend(first)
    await tend(second)
    assert world.fetches == 1
    assert await knows(second, "provider-1")
    world.clock.now += FRESH_SECONDS
    await asyncio.gather(tend(first), tend(second))
    assert world.fetches == 2


@pytest.mark.parametrize("late", [False, True], ids=["renewed before", "just before signing"])
async def test_f13_a_rotation_fails_nobody(world: World, late: bool) -> None:
    """All at once on two workers, who ask the edge once between them."""
    workers = [world.start_worker(), world.start_worker()]
    for worker in workers:
        await tend(worker)
    world.publisher.rotate(keep_old=not late)
    answers = await asyncio.gather(*(knows(worker, "provider-2") for worker in workers * 20))
    assert all(answers)
    assert world.fetches == 2


async def test_f14_a_flood_of_unknown_keys_costs_one_fetch_in_30_seconds(world: World) -> None:
    workers = [world.start_worker(), world.start_worker()]
    for worker in workers:
        await tend(worker)
    rsa_key("stranger")
    for round_ in range(1, 4):
        world.clock.now += FETCH_SECONDS
        answers = await asyncio.gather(*(knows(worker, "stranger") for worker in workers * 200))
        assert not any(answers)
        assert world.fetches == 1 + round_
    began = time.monotonic()
    assert await knows(workers[0], "provider-1")
    assert not await knows(workers[0], "stranger")
    assert time.monotonic() - began < 0.2, "neither the good nor the bad wait after the look"


WRONG = [
    "jwks-html-200",
    "jwks-500",
    "jwks-404",
    "jwks-50mb",
    "jwks-redirect",
    "jwks-array",
    "jwks-empty",
    "jwks-gzip",
    "jwks-cut",
    "jwks-no-keys",
    "jwks-oct",
    "jwks-private",
    "jwks-duplicate-kid",
    "jwks-enc-only",
    "jwks-encrypt-ops",
    "jwks-no-kty",
    "jwks-other-alg",
    "jwks-off-curve",
    "jwks-10000-keys",
    "jwks-1024-bit",
]


@pytest.mark.parametrize("misbehaviour", WRONG)
async def test_f12_j26_a_wrong_key_set_never_replaces_a_good_one(
    world: World, misbehaviour: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = world.start_worker()
    await tend(source)
    before = dict(world.store.left)
    world.publisher.misbehave = {misbehaviour}
    world.clock.now += FRESH_SECONDS
    await tend(source)
    assert world.fetches == 2
    assert await knows(source, "provider-1")
    assert world.store.left == before, "nor is it left for others"
    assert [record.message for record in caplog.records].count("issuer.keys_not_renewed") == 1


@pytest.mark.parametrize("misbehaviour", WRONG)
async def test_f12_j26_a_wrong_key_set_is_not_trusted_by_who_has_no_better(world: World, misbehaviour: str) -> None:
    world.publisher.misbehave = {misbehaviour}
    source = world.start_worker()
    await tend(source)
    with pytest.raises(IssuerUnavailableError):
        await source.find_key(token())
    world.publisher.misbehave = set()
    world.clock.now += FETCH_SECONDS
    await tend(source)
    assert await knows(source, "provider-1")


async def test_the_last_good_keys_count_for_a_day_and_then_it_is_an_outage(world: World) -> None:
    source = world.start_worker()
    await tend(source)
    key = await source.find_key(token())
    world.publisher.misbehave = {"jwks-500"}
    for hours in (1, 12, 23):
        world.clock.now = 1_800_000_000 + hours * 3600
        await tend(source)
        assert await source.find_key(token()) == key
        assert source.still_has(key)
    world.clock.now = 1_800_000_000 + USABLE_SECONDS
    assert not source.still_has(key)
    with pytest.raises(IssuerUnavailableError):
        await source.find_key(token())


async def test_an_outage_of_hours_is_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    source = world.start_worker()
    await tend(source)
    world.publisher.misbehave = {"jwks-500"}
    for _ in range(5):
        world.clock.now += FRESH_SECONDS
        await tend(source)
    assert caplog.messages.count("issuer.keys_not_renewed") == 1


async def test_a_restart_during_an_outage_of_the_edge_works(world: World) -> None:
    await tend(world.start_worker())
    world.publisher.misbehave = {"jwks-500"}
    world.clock.now += 3600
    restarted = world.start_worker()
    await tend(restarted)
    assert await knows(restarted, "provider-1")
    assert restarted.age_seconds == 3600, "a restart makes nothing younger"


async def test_a_restart_does_not_prolong_the_day(world: World) -> None:
    await tend(world.start_worker())
    world.publisher.misbehave = {"jwks-500"}
    world.clock.now += USABLE_SECONDS
    restarted = world.start_worker()
    await tend(restarted)
    with pytest.raises(IssuerUnavailableError):
        await restarted.find_key(token())


async def test_a_store_that_is_down_stops_nothing(world: World) -> None:
    world.store.is_down = True
    source = world.start_worker()
    await tend(source)
    assert await knows(source, "provider-1")
    world.clock.now += FRESH_SECONDS
    await tend(source)
    assert world.fetches == 2
    # Without the store nobody can say how often the edge was asked for this one: an outage, and no denial.
    with pytest.raises(StoreUnavailableError):
        await source.find_key(token("provider-2"))
    assert world.fetches == 2


async def test_f16_a_retired_key_stops_with_the_next_renewal(world: World) -> None:
    source = world.start_worker()
    await tend(source)
    key = await source.find_key(token())
    world.publisher.rotate(keep_old=False)
    world.clock.now += FRESH_SECONDS
    await tend(source)
    assert not source.still_has(key)
    assert not await knows(source, "provider-1")


async def test_an_edge_that_never_answers_holds_nobody_longer_than_nginx_waits(world: World) -> None:
    source = world.start_worker()
    world.publisher.misbehave = {"jwks-slow"}
    source.tend()
    began = time.monotonic()
    with pytest.raises(IssuerUnavailableError):
        await source.find_key(token())
    assert time.monotonic() - began < 1.9


@pytest.mark.parametrize("jump", [-3600, 3600], ids=["back", "forward"])
async def test_f17_a_clock_that_jumps_forgets_no_keys(world: World, jump: int) -> None:
    wall = Clock()
    source = KeySource(
        KeyPlace(TEAM, f"{world.publisher.issuer}/jwks", None, ACCESS_ALGORITHMS),
        shared=world.store,
        may_fetch=world.store.may_fetch,
        clock=wall,
        monotonic=world.clock,
    )
    world.sources.append(source)
    await tend(source)
    wall.now += jump
    world.clock.now += FRESH_SECONDS
    await tend(source)
    assert world.fetches == 2
    assert await knows(source, "provider-1")
    assert source.age_seconds == 0


@pytest.mark.parametrize(("offset", "told"), [(0, []), (29, []), (-29, []), (120, [-120]), (-120, [120])])
async def test_f17_a_clock_that_differs_is_told(
    world: World, offset: int, told: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    world.clock.now = time.time() + offset
    await tend(world.start_worker())
    found = [record.fields for record in caplog.records if record.message == "issuer.clock_differs"]  # type: ignore[attr-defined]
    assert [round(each["ahead_by_seconds"], -1) for each in found] == told


async def test_j5_kids_are_looked_up_and_nothing_else(world: World) -> None:
    source = world.start_worker()
    await tend(source)
    hostile = (
        "../../../../dev/null",
        "/proc/self/environ",
        "' OR '1'='1",
        "PROVIDER-1",
        "provider-1\n",
        "",
        "x" * 5000,
    )
    for kid in hostile:
        unverified = parse_unverified_token(sign(header={"kid": kid}))
        with pytest.raises(TokenError) as refusal:
            await source.find_key(unverified)
        assert refusal.value.code == "token_key_unknown"
    without = parse_unverified_token(sign(header={"kid": ...}))
    with pytest.raises(TokenError):
        await source.find_key(without)


async def test_keys_that_cannot_be_used_are_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.publisher.misbehave = {"jwks-with-unknown-kinds"}
    with caplog.at_level(logging.INFO, "authd"):
        await tend(world.start_worker())
    (told,) = [record.fields for record in caplog.records if record.message == "issuer.keys_changed"]  # type: ignore[attr-defined]
    assert told["kids"] == ["provider-1"]
    assert len(told["skipped"]) == 3


async def test_what_somebody_else_left_is_judged_like_an_answer(world: World) -> None:
    source = world.start_worker()
    await tend(source)
    world.store.left[source.place.name] = (int(world.clock()) + 5, key_set_document(public_jwk("weak", kty="oct")))
    world.clock.now += FETCH_SECONDS
    assert not await knows(source, "weak")
    assert await knows(source, "provider-1")
