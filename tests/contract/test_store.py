"""What every store promises (authd/state/base.py)."""

from __future__ import annotations

import asyncio

from authd.state.base import MOST_OWNED, Store

# By the stores' clients. The servers of Redis, which have clocks of their own, are not there yet.
NOW = 4_000_000_000


async def test_a_value_is_found_until_it_expires(store: Store) -> None:
    await store.put("session", "a", b"\x00value", expires_at=NOW + 10)
    assert await store.find("session", "a", now=NOW) == b"\x00value"
    assert await store.find("session", "a", now=NOW + 9) == b"\x00value"
    assert await store.find("session", "a", now=NOW + 10) is None


async def test_kinds_and_ids_do_not_mix(store: Store) -> None:
    await store.put("session", "a", b"1", expires_at=NOW + 10)
    await store.put("code", "a", b"2", expires_at=NOW + 10)
    assert await store.find("session", "a", now=NOW) == b"1"
    assert await store.find("code", "a", now=NOW) == b"2"
    assert await store.find("session", "b", now=NOW) is None
    assert await store.find("sessiona", "", now=NOW) is None


async def test_a_value_is_replaced(store: Store) -> None:
    await store.put("session", "a", b"1", expires_at=NOW + 10)
    await store.put("session", "a", b"2", expires_at=NOW + 20)
    assert await store.find("session", "a", now=NOW + 15) == b"2"


async def test_a_value_is_taken_by_one_of_fifty(store: Store) -> None:
    await store.put("code", "a", b"once", expires_at=NOW + 10)
    taken = await asyncio.gather(*(store.take("code", "a", now=NOW) for _ in range(50)))
    assert [value for value in taken if value is not None] == [b"once"]
    assert await store.find("code", "a", now=NOW) is None


async def test_an_expired_value_cannot_be_taken(store: Store) -> None:
    await store.put("code", "a", b"late", expires_at=NOW)
    assert await store.take("code", "a", now=NOW) is None


async def test_one_of_fifty_writes_where_nothing_is(store: Store) -> None:
    written = await asyncio.gather(
        *(store.put_if_absent("key", "a", str(n).encode(), now=NOW, expires_at=NOW + 9) for n in range(50))
    )
    assert written.count(True) == 1
    assert await store.find("key", "a", now=NOW) == str(written.index(True)).encode()


async def test_an_expired_value_counts_as_absent(store: Store) -> None:
    await store.put("key", "a", b"old", expires_at=NOW)
    assert await store.put_if_absent("key", "a", b"new", now=NOW, expires_at=NOW + 9) is True
    assert await store.find("key", "a", now=NOW) == b"new"


async def test_counting_starts_again_after_its_window(store: Store) -> None:
    assert [await store.count("login", "a", now=NOW + n, window_seconds=60) for n in range(3)] == [1, 2, 3]
    assert await store.count("login", "b", now=NOW, window_seconds=60) == 1
    assert await store.count("login", "a", now=NOW + 59, window_seconds=60) == 4
    assert await store.count("login", "a", now=NOW + 60, window_seconds=60) == 1


async def test_fifty_counts_at_once_are_all_counted(store: Store) -> None:
    counts = await asyncio.gather(*(store.count("login", "a", now=NOW, window_seconds=60) for _ in range(50)))
    assert sorted(counts) == list(range(1, 51))


async def test_ending_removes_the_value_and_leaves_a_tombstone(store: Store) -> None:
    await store.put("session", "a", b"1", expires_at=NOW + 100)
    before = await store.cursor()
    await store.end("session", "a", now=NOW, remembered_until=NOW + 100)
    assert await store.find("session", "a", now=NOW) is None
    (tombstone,) = await store.tombstones_since(before)
    assert (tombstone.kind, tombstone.id) == ("session", "a")
    assert tombstone.sequence > before
    assert await store.tombstones_since(tombstone.sequence) == []


async def test_tombstones_come_in_order_and_none_is_lost(store: Store) -> None:
    start = await store.cursor()
    await asyncio.gather(*(store.end("session", str(n), now=NOW, remembered_until=NOW + 100) for n in range(40)))
    found = await store.tombstones_since(start)
    assert sorted(int(tombstone.id) for tombstone in found) == list(range(40))
    assert [tombstone.sequence for tombstone in found] == sorted(tombstone.sequence for tombstone in found)
    assert await store.cursor() == found[-1].sequence


async def test_ending_what_does_not_exist_still_leaves_a_tombstone(store: Store) -> None:
    await store.end("session", "ghost", now=NOW, remembered_until=NOW + 1)
    assert [tombstone.id for tombstone in await store.tombstones_since(0)] == ["ghost"]


async def test_sweeping_removes_what_has_expired_and_nothing_else(store: Store) -> None:
    await store.put("session", "old", b"1", expires_at=NOW)
    await store.put("session", "young", b"1", expires_at=NOW + 1)
    await store.count("login", "old", now=NOW - 60, window_seconds=60)
    await store.end("session", "gone", now=NOW - 1, remembered_until=NOW)
    newest = await store.cursor()
    assert await store.size() == 4
    # Redis lets values and counters expire by itself, and sweeps tombstones alone.
    swept = await store.sweep(now=NOW)
    assert swept >= 1
    assert await store.size() == 4 - swept
    assert await store.sweep(now=NOW) == 0
    assert await store.find("session", "old", now=NOW) is None
    assert await store.find("session", "young", now=NOW) == b"1"
    assert await store.tombstones_since(0) == []
    assert await store.cursor() == newest, "the cursor never goes back"


async def test_everything_can_be_read_out(store: Store) -> None:
    for n in range(1100):
        await store.put("session", f"a:{n}", b"\x00\n" + str(n).encode(), expires_at=NOW + n)
    await store.put("keyring", "auth.example.com", b"keys", expires_at=2**53)
    for n in range(3):
        await store.end("session", f"ended:{n}", now=NOW, remembered_until=NOW + n)
    values = {(each.kind, each.id): each async for each in store.read_values(now=NOW)}
    assert len(values) == 1100
    assert values["session", "a:7"].value == b"\x00\n7"
    assert values["session", "a:7"].expires_at == NOW + 7
    assert values["keyring", "auth.example.com"].expires_at == 2**53
    ends = [(each.kind, each.id, each.remembered_until) async for each in store.read_ends(now=NOW)]
    assert ends == [("session", "ended:1", NOW + 1), ("session", "ended:2", NOW + 2)]


async def test_a_closed_store_can_be_closed_again(store: Store) -> None:
    await store.close()
    await store.close()


async def test_one_of_fifty_replaces_what_all_have_read(store: Store) -> None:
    await store.put("keyring", "a", b"old", expires_at=NOW + 10)
    replaced = await asyncio.gather(
        *(store.replace("keyring", "a", b"old", str(n).encode(), now=NOW, expires_at=NOW + 20) for n in range(50))
    )
    assert replaced.count(True) == 1
    assert await store.find("keyring", "a", now=NOW + 15) == str(replaced.index(True)).encode()


async def test_what_has_changed_meanwhile_is_not_replaced_and_lives_no_longer(store: Store) -> None:
    await store.put("keyring", "a", b"\x00value", expires_at=NOW + 10)
    for other in (b"", b"\x00", b"\x00VALUE", b"\x00value\x00"):
        assert await store.replace("keyring", "a", other, b"new", now=NOW, expires_at=NOW + 99) is False
    assert await store.find("keyring", "a", now=NOW + 9) == b"\x00value"
    assert await store.find("keyring", "a", now=NOW + 10) is None


async def test_what_is_missing_or_has_expired_is_replaced_by_nobody(store: Store) -> None:
    await store.put("keyring", "late", b"old", expires_at=NOW)
    for id_ in ("late", "never"):
        assert await store.replace("keyring", id_, b"old", b"new", now=NOW, expires_at=NOW + 99) is False
        assert await store.find("keyring", id_, now=NOW) is None


async def test_what_an_owner_has_is_found_until_it_ends(store: Store) -> None:
    await store.put("session", "short", b"1", expires_at=NOW + 10, owner="jane")
    await store.put("session", "long", b"2", expires_at=NOW + 99, owner="jane")
    await store.put("session", "other", b"3", expires_at=NOW + 99, owner="john")
    await store.put("session", "nobody's", b"4", expires_at=NOW + 99)
    await store.put("refresh", "long", b"5", expires_at=NOW + 99, owner="jane")

    found = await store.find_owned("session", "jane", now=NOW)
    assert [(each.id, each.value, each.owner) for each in found] == [("long", b"2", "jane"), ("short", b"1", "jane")]
    assert [each.id for each in await store.find_owned("session", "jane", now=NOW + 10)] == ["long"]
    await store.end("session", "long", now=NOW, remembered_until=NOW + 99)
    assert [each.id for each in await store.find_owned("session", "jane", now=NOW)] == ["short"]
    assert await store.find_owned("session", "", now=NOW) == []
    assert await store.find_owned("session", "nobody", now=NOW) == []


async def test_a_replaced_value_stays_its_owners_and_lives_longer(store: Store) -> None:
    await store.put("session", "a", b"1", expires_at=NOW + 10, owner="jane")
    assert await store.replace("session", "a", b"1", b"2", now=NOW, expires_at=NOW + 50, owner="jane")
    (found,) = await store.find_owned("session", "jane", now=NOW + 20)
    assert (found.value, found.expires_at) == (b"2", NOW + 50)


async def test_an_owner_has_no_end_of_values_but_a_list_has(store: Store) -> None:
    for number in range(MOST_OWNED + 5):
        await store.put("session", str(number), b"1", expires_at=NOW + 10 + number, owner="jane")
    found = await store.find_owned("session", "jane", now=NOW)
    assert [int(each.id) for each in found] == list(range(MOST_OWNED + 4, 4, -1))
    rest = await store.find_owned("session", "jane", now=NOW, skip=MOST_OWNED)
    assert [int(each.id) for each in rest] == [4, 3, 2, 1, 0]
    assert await store.find_owned("session", "jane", now=NOW, skip=2 * MOST_OWNED) == []


async def test_an_owner_of_many_that_have_ended_is_left_with_the_others(store: Store) -> None:
    """Those that end last would come first, and fill the list, if they were still there."""
    for number in range(MOST_OWNED + 5):
        await store.put("session", str(number), b"1", expires_at=NOW + 10 + number, owner="jane")
    for number in range(2, MOST_OWNED + 5):
        await store.end("session", str(number), now=NOW, remembered_until=NOW + 99)

    assert [each.id for each in await store.find_owned("session", "jane", now=NOW)] == ["1", "0"]
    await store.put("session", "2", b"1", expires_at=NOW + 10, owner="jane")
    assert len(await store.find_owned("session", "jane", now=NOW)) == 3
    assert await store.find_owned("session", "jane", now=NOW, skip=MOST_OWNED) == []


async def test_many_are_found_in_one_call_and_those_that_do_not_live_are_missing(store: Store) -> None:
    for number in range(MOST_OWNED - 2):
        await store.put("last_use", f"a{number}", b"%d" % number, expires_at=NOW + 10)
    await store.put("last_use", "late", b"1", expires_at=NOW)
    await store.put("session", "other", b"1", expires_at=NOW + 10)
    ids = [f"a{number}" for number in range(MOST_OWNED - 2)]

    found = await store.find_many("last_use", [*ids, "late", "other"], now=NOW)

    assert found == {id_: id_[1:].encode() for id_ in ids}
    assert await store.find_many("last_use", [], now=NOW) == {}
    assert await store.find_many("last_use", ["a1", "a1", 'a"1', "a%"], now=NOW) == {"a1": b"1"}


async def test_what_is_read_out_says_whose_it_is(store: Store) -> None:
    await store.put("session", "a", b"1", expires_at=NOW + 10, owner="jane")
    await store.put("session", "b", b"2", expires_at=NOW + 10)
    assert {each.id: each.owner async for each in store.read_values(now=NOW)} == {"a": "jane", "b": ""}
