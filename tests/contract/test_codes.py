"""Codes by mail over every store: two workers that share one count the same tries, and spend a code once."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from authd.config.onetimepin import CodeRateLimit
from authd.errors import LoginLimitError
from authd.limits import CodeLimits
from authd.sealing import Sealer
from authd.state.base import Store
from authd.state.records import PinCode, Records
from tests.contract.test_store import NOW

LIMITS = CodeRateLimit(per_email=3, per_email_and_day=5, in_all=100)
PIN = PinCode("guests", "attempt", "alice@example.com", "hash-of-code", "hash-of-key", expires_at=NOW + 600)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_records(store: Store) -> Records:
    return Records(store, Sealer([bytes(32)]), on_broken=lambda kind: None, clock=lambda: NOW)


async def test_a_code_is_found_until_it_is_spent_and_spent_once(store: Store) -> None:
    workers = [make_records(store), make_records(store)]
    await workers[0].add_pin("pin", PIN)
    assert await workers[1].find_pin("pin", now=NOW) == PIN

    spent = await asyncio.gather(*(worker.spend_pin("pin", now=NOW) for worker in workers for _ in range(10)))

    assert spent.count(True) == 1
    assert await workers[1].find_pin("pin", now=NOW) is None


async def test_a_code_ends_by_itself(store: Store) -> None:
    records = make_records(store)
    await records.add_pin("pin", PIN)

    assert await records.find_pin("pin", now=NOW + 599) == PIN
    assert await records.find_pin("pin", now=NOW + 600) is None


async def test_tries_that_come_at_once_have_numbers_of_their_own(store: Store, clock: Clock) -> None:
    workers = [CodeLimits(store, clock=clock), CodeLimits(store, clock=clock)]

    counted = await asyncio.gather(*(worker.count_try("pin") for worker in workers for _ in range(20)))

    assert sorted(counted) == list(range(1, 41))
    assert await workers[0].count_try("another") == 1


async def test_tries_are_remembered_for_longer_than_a_code_lives(store: Store, clock: Clock) -> None:
    limits = CodeLimits(store, clock=clock)
    for _ in range(5):
        await limits.count_try("pin")

    clock.now = NOW + 601

    assert await limits.count_try("pin") == 6


async def test_who_is_told_to_wait_does_not_use_up_the_day(store: Store, clock: Clock) -> None:
    limits = CodeLimits(store, clock=clock)
    found = [await limits.find_exceeded("alice", "guests", LIMITS) for _ in range(6)]
    clock.now += 600
    found += [await limits.find_exceeded("alice", "guests", LIMITS) for _ in range(3)]

    assert found == [None] * 3 + ["code_email"] * 3 + [None] * 2 + ["code_email_day"]
    assert await limits.find_exceeded("bob", "guests", LIMITS) is None


async def test_all_mails_together_are_bounded(store: Store, clock: Clock) -> None:
    limits = CodeLimits(store, clock=clock)
    found = await asyncio.gather(*(limits.find_exceeded(f"person {n}", "guests", LIMITS) for n in range(120)))

    assert (found.count(None), found.count("code_in_all")) == (100, 20)


async def test_a_household_counts_as_one_address(store: Store, clock: Clock) -> None:
    limits = CodeLimits(store, clock=clock)
    settings = CodeRateLimit(per_address=2, per_network=4)
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:0:1::2"):
        await limits.count_asking(ip_address(address), settings)
    for address, kind in (("2001:db8::3", "code_address"), ("2001:db8:0:2::1", "code_network")):
        with pytest.raises(LoginLimitError) as caught:
            await limits.count_asking(ip_address(address), settings)
        assert caught.value.kind == kind
    await limits.count_asking(ip_address("2001:db8:1::1"), settings)
