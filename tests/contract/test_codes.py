"""Codes by mail over every store: two workers that share one count the same tries, and spend a code once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from authd.config.onetimepin import CodeRateLimit
from authd.errors import LoginLimitError
from authd.limits import Allowance, CodeLimits
from authd.sealing import Sealer
from authd.state.base import Store
from authd.state.pin_rows import PinRows, WaitingMail
from authd.state.records import PinCode, Records
from tests.contract.test_store import NOW

LIMITS = CodeRateLimit(per_email=3, per_email_and_day=5, per_email_and_hour=8, in_all=100)
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


async def ask(limits: CodeLimits, times: int, network: str = "n", **options: Any) -> list[str | None]:
    """What forbade each of so many mails to Alice."""
    counted = [await limits.count_mail("alice", "guests", LIMITS, network=network, **options) for _ in range(times)]
    return [allowance.exceeded for allowance in counted]


async def test_who_is_told_to_wait_does_not_use_up_the_day(store: Store, clock: Clock) -> None:
    limits = CodeLimits(store, clock=clock)
    found = await ask(limits, 6)
    clock.now += 600
    found += await ask(limits, 3)

    assert found == [None] * 3 + ["code_email"] * 3 + [None] * 2 + ["code_email_day"]
    assert await limits.count_mail("bob", "guests", LIMITS, network="n") == Allowance()


async def test_each_network_has_its_own_and_a_mailbox_its_hour(store: Store, clock: Clock) -> None:
    limits = CodeLimits(store, clock=clock)
    for network in ("a", "b"):
        assert await ask(limits, 3, network) == [None] * 3
    assert await ask(limits, 4, "c") == [None] * 2 + ["code_email_hour", "code_email"]
    assert await ask(limits, 4, "c", own_place="network c") == [None] * 3 + ["code_email"]
    assert await ask(limits, 1, "c", own_place="browser 1") == [None]

    clock.now += 3600

    assert await ask(limits, 1, "d") == [None]


async def test_codes_grow_longer_when_strangers_ask_for_many(store: Store, clock: Clock) -> None:
    limits, generous = CodeLimits(store, clock=clock), CodeRateLimit(per_email_and_hour=100)
    digits = []
    for number in range(30):
        allowance = await limits.count_mail("alice", "guests", generous, network=f"n{number}")
        digits.append(allowance.digits)
    own = await limits.count_mail("alice", "guests", generous, network="mine", own_place="network mine")

    assert digits == [6] * 20 + [8] * 10
    assert own.digits == 6
    clock.now += 86400
    assert (await limits.count_mail("alice", "guests", generous, network="n1")).digits == 6


async def test_all_mails_together_are_bounded(store: Store, clock: Clock) -> None:
    limits = CodeLimits(store, clock=clock)
    found: list[str | None] = []
    for some in range(0, 120, 20):  # not all at once: on a busy machine the store would miss its deadline
        people = [f"person {some + number}" for number in range(20)]
        asked = (limits.count_mail(person, "guests", LIMITS, network="n") for person in people)
        found += [allowance.exceeded for allowance in await asyncio.gather(*asked)]

    assert (found.count(None), found.count("code_in_all")) == (100, 20)


async def test_where_somebody_has_logged_in_is_remembered_for_a_while(store: Store) -> None:
    rows, others = PinRows(store, Sealer([bytes(32)])), PinRows(store, Sealer([bytes([1]) * 32]))
    await rows.note_network("alice", "192.0.2.0/24", now=NOW)

    assert await rows.is_known_network("alice", "192.0.2.0/24", now=NOW + 89 * 86400)
    assert not await rows.is_known_network("alice", "192.0.2.0/24", now=NOW + 90 * 86400)
    assert not await rows.is_known_network("alice", "198.51.100.0/24", now=NOW)
    assert not await rows.is_known_network("bob", "192.0.2.0/24", now=NOW)
    assert not await others.is_known_network("alice", "192.0.2.0/24", now=NOW), "who writes to the store makes none"


async def test_a_mail_waits_until_it_is_taken_and_one_worker_at_a_time_has_it(store: Store) -> None:
    rows = PinRows(store, Sealer([bytes(32)]))
    mail = WaitingMail("guests", "grafana", "alice@example.com", {"code": "123456"}, due_at=NOW, expires_at=NOW + 600)
    await rows.put_mail("one", mail)
    await rows.put_mail("two", mail)
    assert dict(await rows.list_mails(now=NOW)) == {"one": mail, "two": mail}

    claims = [replace(mail, tries=1, due_at=NOW + number) for number in range(1, 5)]
    claimed = await asyncio.gather(*(rows.replace_mail("one", mail, claim, now=NOW) for claim in claims))

    assert claimed.count(True) == 1
    found = dict(await rows.list_mails(now=NOW))
    assert found["one"] == claims[claimed.index(True)]
    assert not await rows.replace_mail("three", mail, claims[0], now=NOW)
    await rows.take_mail("one", now=NOW)
    assert dict(await rows.list_mails(now=NOW)) == {"two": mail}
    assert await rows.list_mails(now=NOW + 600) == []
    assert not await rows.replace_mail("two", mail, claims[0], now=NOW + 600)


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
