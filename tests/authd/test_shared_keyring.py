"""The keyring as workers see it who share a store: one renews it, all follow, and none is flooded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import pytest

from authd.errors import StoreUnavailableError, TokenError
from authd.jose import parse_unverified_token
from authd.keys import ROTATION_SECONDS, Keyring, render_keyring
from authd.model import Reason
from authd.rotation import promote_key, retire_key
from authd.shared_keyring import SharedKeyring
from authd.state.base import Tombstone
from authd.tokens import Tokens
from tests.authd.house import NOW, TEAM, House, get_keyring, make_session

DAY = 86400


def make_worker(house: House) -> SharedKeyring:
    """The keyring as one more worker sees it."""
    return SharedKeyring(
        house.records,
        team_domain=TEAM,
        longest_token_seconds=lambda: DAY,
        clock=house.clock,
        monotonic=asyncio.get_running_loop().time,
    )


def make_tokens(house: House, worker: SharedKeyring) -> Tokens:
    return Tokens(issuer=f"https://{TEAM}", keyring=worker.get, clock=house.clock, learn_key=worker.learn)


@pytest.fixture
async def workers(house: House) -> list[SharedKeyring]:
    """Two workers who know the keys of the store."""
    sealed = house.sealer.seal("keyring", TEAM, render_keyring(get_keyring()))
    await house.store.put("keyring", TEAM, sealed, expires_at=2**50)
    found = [make_worker(house), make_worker(house)]
    await asyncio.gather(*(worker.refresh() for worker in found))
    return found


async def change(house: House, step: Callable[..., Keyring], key_id: str) -> Keyring:
    """What `authd keys` does, beside the workers."""
    now = int(house.clock())
    whole = partial(step, key_id=key_id, team_domain=TEAM, now=now, longest_token_seconds=DAY)
    return await house.records.change_keyring(whole, team_domain=TEAM, now=now)


def count_reads(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read, find = [], house.store.find

    async def counted(kind: str, id_: str, *, now: int) -> bytes | None:
        read.append(kind)
        return await find(kind, id_, now=now)

    monkeypatch.setattr(house.store, "find", counted)
    return read


def ids(keyring: Keyring) -> list[str]:
    return [key.key_id for key in keyring.keys]


async def test_before_the_store_was_read_there_is_no_key(house: House) -> None:
    worker = make_worker(house)

    assert not worker.is_loaded
    with pytest.raises(StoreUnavailableError):
        worker.get()


async def test_of_workers_that_start_at_once_one_makes_the_keys(house: House) -> None:
    workers = [make_worker(house) for _ in range(3)]

    rings = await asyncio.gather(*(worker.refresh() for worker in workers))

    assert len({tuple(ids(ring)) for ring in rings}) == 1
    assert len(rings[0].keys) == 2


async def test_of_workers_that_find_a_rotation_due_one_makes_the_next_key(
    house: House, workers: list[SharedKeyring]
) -> None:
    house.clock.now = NOW - DAY + ROTATION_SECONDS

    rings = await asyncio.gather(*(worker.refresh() for worker in workers))

    assert ids(rings[0]) == ids(rings[1])
    assert len(rings[0].keys) == 3
    assert ids(rings[0])[:2] == ids(get_keyring())
    stored = await house.records.find_keyring(team_domain=TEAM, now=int(house.clock()))
    assert stored is not None
    assert ids(stored) == ids(rings[0])


async def test_a_token_of_a_key_that_another_worker_made_is_looked_up_before_it_is_refused(
    house: House, workers: list[SharedKeyring]
) -> None:
    """Two rotations at once: this worker has never heard of the key that signs now."""
    first, second = workers
    for _ in range(2):
        coming = (await first.refresh()).find_next_key(NOW)
        assert coming is not None
        await change(house, promote_key, coming.key_id)
    await first.refresh()
    token = make_tokens(house, first).issue_organisation_token(make_session())
    tokens = make_tokens(house, second)
    with pytest.raises(TokenError) as unknown:
        tokens.verify_organisation_token(parse_unverified_token(token))
    assert unknown.value.code == Reason.TOKEN_KEY_UNKNOWN

    verified = tokens.verify_organisation_token(await tokens.read(token))

    assert verified.key_id == first.get().signing_key(NOW).key_id


async def test_a_key_that_nobody_made_stays_unknown(house: House, workers: list[SharedKeyring]) -> None:
    foreign = Tokens(issuer=f"https://{TEAM}", keyring=lambda: foreign_ring, clock=house.clock)
    foreign_ring = retire_key(
        Keyring(get_keyring().keys[:1]), ids(get_keyring())[0], team_domain=TEAM, now=NOW, longest_token_seconds=DAY
    )
    tokens, token = make_tokens(house, workers[0]), foreign.issue_organisation_token(make_session())

    unverified = await tokens.read(token)
    with pytest.raises(TokenError) as refusal:
        tokens.verify_organisation_token(unverified)
    assert refusal.value.code == Reason.TOKEN_KEY_UNKNOWN


async def test_a_flood_of_invented_keys_shares_one_look_and_the_next_waits_for_its_turn(
    house: House, workers: list[SharedKeyring], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, read, loop = workers[0], count_reads(house, monkeypatch), asyncio.get_running_loop()
    await asyncio.gather(*(worker.learn(f"{number:064x}") for number in range(500)))
    assert read == ["keyring"]

    started = loop.time()
    await asyncio.gather(*(worker.learn(f"{number:064x}") for number in range(500)))
    assert read == ["keyring", "keyring"]
    assert loop.time() - started > 0.1, "the second look waited"


@pytest.mark.parametrize("key_id", ["", "corp-2026", "A" * 64, "f" * 63, "f" * 65, "f" * 64 + "\n"])
async def test_a_key_id_that_is_none_of_ours_is_not_looked_up(
    house: House, workers: list[SharedKeyring], key_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_reads(house, monkeypatch)

    await workers[0].learn(key_id)

    assert read == []


async def test_while_the_store_is_silent_a_token_of_an_unknown_key_is_an_outage_and_no_refusal(
    house: House, workers: list[SharedKeyring]
) -> None:
    known = workers[0].get()
    await house.store.close()

    with pytest.raises(StoreUnavailableError):
        await workers[0].learn("f" * 64)
    with pytest.raises(StoreUnavailableError):
        await workers[0].refresh()
    assert workers[0].get() is known


async def test_a_retired_key_is_dropped_with_its_tombstone_and_never_comes_back(
    house: House, workers: list[SharedKeyring]
) -> None:
    worker = workers[0]
    retired, coming = worker.get().keys
    # The store still says otherwise, as a backup would.
    worker.follow(Tombstone(1, "key", retired.key_id))

    assert worker.is_stale
    assert ids(worker.get()) == [coming.key_id]
    assert worker.get().signing_key(NOW).key_id == coming.key_id
    await worker.learn(retired.key_id)
    await worker.refresh()
    assert retired.key_id not in ids(worker.get())
    assert not worker.is_stale


async def test_a_worker_whose_last_key_was_retired_signs_nothing_until_it_has_read_another(
    house: House, workers: list[SharedKeyring]
) -> None:
    worker = workers[0]
    for key_id in ids(worker.get()):
        worker.follow(Tombstone(1, "key", key_id))
    assert not worker.is_loaded
    worker.follow(Tombstone(2, "key", "f" * 64))
    with pytest.raises(StoreUnavailableError):
        worker.get()

    for key_id in ids(get_keyring()):
        await change(house, retire_key, key_id)
    await worker.refresh()
    assert worker.is_loaded
    assert not set(ids(worker.get())) & set(ids(get_keyring()))


async def test_the_end_of_a_session_is_none_of_a_key(house: House, workers: list[SharedKeyring]) -> None:
    key_id = ids(workers[0].get())[0]

    workers[0].follow(Tombstone(1, "session", key_id))

    assert key_id in ids(workers[0].get())
    assert not workers[0].is_stale


async def test_changes_that_meet_are_all_made(house: House, workers: list[SharedKeyring]) -> None:
    """Five retirements at once, of two keys: each is applied to what the one before it left."""
    old = ids(get_keyring())

    await asyncio.gather(*(change(house, retire_key, old[number % 2]) for number in range(5)))

    keyring = await house.records.find_keyring(team_domain=TEAM, now=NOW)
    assert keyring is not None
    assert not set(ids(keyring)) & set(old)
    assert len(keyring.keys) == 2


async def test_a_setting_that_lets_tokens_live_longer_keeps_the_key_that_signs_them(
    house: House, workers: list[SharedKeyring]
) -> None:
    allowed = [31 * DAY]
    worker = SharedKeyring(
        house.records,
        team_domain=TEAM,
        longest_token_seconds=lambda: allowed[0],
        clock=house.clock,
        monotonic=asyncio.get_running_loop().time,
    )
    raised = await worker.refresh()
    allowed[0] = DAY
    lowered = await worker.refresh()

    assert [key.longest_token_seconds for key in raised.keys] == [31 * DAY, 7 * DAY]
    assert render_keyring(lowered) == render_keyring(raised) == render_keyring(await workers[0].refresh())


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.AA"])
async def test_what_is_no_token_of_ours_is_not_looked_up(
    house: House, workers: list[SharedKeyring], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_reads(house, monkeypatch)

    with contextlib.suppress(TokenError):
        await make_tokens(house, workers[0]).read(text)
    await make_tokens(house, workers[0]).read(make_tokens(house, workers[1]).issue_organisation_token(make_session()))

    assert read == []


async def test_a_store_that_takes_no_writes_still_tells_the_keys_to_a_worker_that_starts(
    house: House, workers: list[SharedKeyring], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, at the very moment when a rotation is due."""
    house.clock.now = NOW - DAY + ROTATION_SECONDS

    async def refuse(*_: object, **__: object) -> bool:
        raise StoreUnavailableError("disk full")

    monkeypatch.setattr(house.store, "replace", refuse)
    worker = make_worker(house)
    with pytest.raises(StoreUnavailableError):
        await worker.refresh()

    assert ids(worker.get()) == ids(get_keyring())
    assert worker.get().signing_key(house.clock()).key_id == ids(get_keyring())[1]
