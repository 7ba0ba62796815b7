"""Typed rows over a store: sealed for their place, spent once; and a row that is not ours might as well be missing."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import pytest

from authd.errors import StoreDamagedError
from authd.keys import render_keyring
from authd.sealing import Sealer
from authd.state.records import CODE_LIFETIME_SECONDS, KEY_SET_SECONDS, HandoverCode, Records
from tests.authd.house import NOW, TEAM, House, get_keyring, make_identity, make_session

CODE = HandoverCode("session", "grafana", "grafana.example.com", "/x?y=%26", "0" * 64, 1)


async def test_a_session_comes_back_as_it_was(house: House) -> None:
    identity = make_identity("zoë@example.com", name="Zoë", groups=("a", "b,c"), claims={"floor": 3, "tags": ["x"]})
    identity = replace(identity, groups_are_complete=False, tenant="t", evaluations={"e": (True, 5)})
    session = make_session(identity=identity, user_agent="\x00 odd", country="PL")

    await house.records.add_session(session)

    assert await house.records.find_session(session.id, now=NOW) == session
    assert await house.records.find_session(session.id, now=session.expires_at) is None


async def test_nothing_of_a_session_can_be_read_in_the_store(house: House) -> None:
    session = make_session()
    await house.records.add_session(session)

    row = await house.store.find("session", session.id, now=NOW)

    assert row is not None
    assert b"alice" not in row
    assert b"alice@example.com" not in (house.directory / "authd.db-wal").read_bytes()


async def test_a_row_that_was_moved_to_another_session_is_nobodys(house: House) -> None:
    """Whoever can write to the store must not become an administrator by copying the administrator's row."""
    admin, mine = make_session("session-of-admin"), make_session("my-own-session")
    await house.records.add_session(admin)
    row = await house.store.find("session", admin.id, now=NOW)
    assert row is not None
    await house.store.put("session", mine.id, row, expires_at=NOW + 60)

    assert await house.records.find_session(mine.id, now=NOW) is None
    assert house.broken == ["session"]


@pytest.mark.parametrize("row", [b"", b"\x00", b'{"id": "x"}', b"\x01" + b"\x00" * 100])
async def test_a_row_that_is_not_ours_is_missing_and_reported(house: House, row: bytes) -> None:
    await house.store.put("session", "x", row, expires_at=NOW + 60)
    await house.store.put("code", "x", row, expires_at=NOW + 60)

    assert await house.records.find_session("x", now=NOW) is None
    assert await house.records.take_code("x", now=NOW) is None
    assert house.broken == ["session", "code"]


async def test_a_code_is_spent_by_exactly_one_of_many(house: House) -> None:
    await house.records.add_code("code", CODE, now=NOW)

    taken = await asyncio.gather(*(house.records.take_code("code", now=NOW) for _ in range(10)))

    assert [code for code in taken if code] == [CODE]


async def test_a_code_lives_for_a_minute_whatever_the_row_says(house: House) -> None:
    await house.records.add_code("code", CODE, now=NOW)
    row = await house.store.find("code", "code", now=NOW)
    assert row is not None
    await house.store.put("code", "code", row, expires_at=NOW + 10_000)

    assert await house.records.take_code("code", now=NOW + CODE_LIFETIME_SECONDS) is None


async def test_a_state_is_spent_once(house: House) -> None:
    spent = await asyncio.gather(*(house.records.spend_state("state", now=NOW, expires_at=NOW + 60) for _ in range(5)))

    assert sorted(spent) == [False] * 4 + [True]


async def test_a_providers_keys_are_left_for_other_workers_for_a_day(house: House) -> None:
    await house.records.leave("https://idp.example.com", b'{"keys": []}')

    assert await house.records.find("https://idp.example.com") == b'{"keys": []}'
    assert await house.records.find("https://other.example.com") is None
    house.clock.now = NOW + KEY_SET_SECONDS
    assert await house.records.find("https://idp.example.com") is None


async def test_all_workers_get_one_keyring(house: House) -> None:
    one, other = [await house.records.load_keyring(team_domain=TEAM, now=NOW) for _ in range(2)]

    assert [key.key_id for key in one.keys] == [key.key_id for key in other.keys]
    assert b"PRIVATE KEY" not in (house.directory / "authd.db-wal").read_bytes()


async def test_a_keyring_under_another_secret_is_damage_and_is_not_replaced(house: House) -> None:
    sealed = Sealer([b"o" * 32]).seal("keyring", TEAM, render_keyring(get_keyring()))
    await house.store.put("keyring", TEAM, sealed, expires_at=2**53)

    with pytest.raises(StoreDamagedError, match="secret_file"):
        await house.records.load_keyring(team_domain=TEAM, now=NOW)

    assert await house.store.find("keyring", TEAM, now=NOW) == sealed
    both = Records(house.store, Sealer([b"n" * 32, b"o" * 32]), on_broken=house.broken.append, clock=house.clock)
    assert (await both.load_keyring(team_domain=TEAM, now=NOW)).keys[0].key_id == get_keyring().keys[0].key_id


def test_a_code_says_all_that_the_hand_over_needs() -> None:
    assert set(asdict(CODE)) == {
        *("session_id", "application_id", "host", "return_path", "app_session_hash", "round"),
    }


async def test_a_store_that_never_comes_to_an_end_does_not_keep_the_worker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_owned(*_: object, **__: object) -> list[object]:
        return [object()]

    monkeypatch.setattr(house.store, "find_owned", find_owned)

    with pytest.raises(StoreDamagedError, match="does not come to an end"):
        await asyncio.wait_for(house.records.list_all_sessions("alice", now=NOW), 10)
