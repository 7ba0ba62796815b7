"""How many codes go to whom: limits by network, mailbox and day, and browsers and networks that have their own."""

from __future__ import annotations

import pytest

from authd.errors import LoginLimitError
from authd.login import TEAM_COOKIE
from authd.login_steps import AskAddress, AskCode, Redirect
from tests.authd.house import NOW, TEAM, House
from tests.authd.pins import CONFIG, PinHouse, Visitor, wrong_code
from tests.harness.smtp import MailServer

ALICE = "alice@example.com"


async def ask_often(visitor: Visitor, times: int, address: str = ALICE) -> int:
    """How many requests were answered before the limit was told."""
    for number in range(times):
        try:
            await visitor.ask(address)
        except LoginLimitError:
            return number
    return times


async def test_one_address_may_ask_thirty_times(visitor: Visitor, house: House) -> None:
    await visitor.begin()

    assert await ask_often(visitor, 40, "nobody@elsewhere.example") == 30
    house.clock.now += 600
    await visitor.begin()
    assert await ask_often(visitor, 1) == 1


@pytest.mark.parametrize("pattern", ["192.0.2.{}", "2001:db8:0:{}::1"])
async def test_a_network_may_ask_a_hundred_times(pin_house: PinHouse, pattern: str) -> None:
    answered = 0
    for number in range(30):
        visitor = Visitor(pin_house, address=pattern.format(number + 1))
        await visitor.begin()
        answered += await ask_often(visitor, 4, "nobody@elsewhere.example")

    assert answered == 100


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("198.51.100.{number}", [5, 10, 15, 20, 20, 20]),
        ("2001:db8:0:{number}::1", [5, 10, 15, 20, 20, 20]),
        ("198.51.{hour}.{number}", [5, 10, 15, 20, 25, 30]),
        ("198.{number}.{hour}.1", [30, 60, 90, 120, 150, 180]),
    ],
)
async def test_a_network_brings_one_mailbox_twenty_a_day_and_all_of_them_thirty_an_hour(
    pin_house: PinHouse, house: House, mail_server: MailServer, pattern: str, expected: list[int]
) -> None:
    counts = []
    for hour in range(6):
        for number in range(8 if "{number}.{hour}" not in pattern else 40):
            visitor = Visitor(pin_house, address=pattern.format(hour=hour, number=number))
            await visitor.begin()
            assert isinstance(await visitor.ask(ALICE), Redirect)
        counts.append(len(mail_server.mails))
        house.clock.now += 3600

    assert counts == expected


async def test_strangers_cannot_keep_somebody_out_of_a_network_where_they_logged_in_before(
    pin_house: PinHouse, house: House, mail_server: MailServer
) -> None:
    await log_in(Visitor(pin_house, address="203.0.113.5"), mail_server)
    for number in range(40):
        stranger = Visitor(pin_house, address=f"198.{number}.1.1")
        await stranger.begin()
        await stranger.ask(ALICE)
    assert len(mail_server.mails) == 29, "and the one of the login"

    for address in ("192.0.2.1", "203.0.113.77"):
        mail_server.mails.clear()
        visitor = Visitor(pin_house, address=address)
        await visitor.begin()
        await visitor.ask(ALICE)
        assert len(mail_server.mails) == (address == "203.0.113.77"), address
    house.clock.now += 3600
    visitor = Visitor(pin_house, address="192.0.2.1")
    await visitor.begin()
    await visitor.ask(ALICE)
    assert len(mail_server.mails) == 2, "nor out of anywhere for longer than an hour"
    assert len(mail_server.mails[-1].code) == 8
    assert isinstance(await visitor.type_code(mail_server.mails[-1].code), Redirect)


async def log_in(visitor: Visitor, mail_server: MailServer) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    assert isinstance(await visitor.type_code(mail_server.mails[-1].code), Redirect)
    visitor.jars[TEAM].pop(TEAM_COOKIE)
    mail_server.mails.clear()


async def test_strangers_cannot_keep_somebody_out_of_a_browser_where_they_logged_in_before(
    pin_house: PinHouse, house: House, mail_server: MailServer
) -> None:
    alice = Visitor(pin_house)
    await log_in(alice, mail_server)
    for number in range(8):
        stranger = Visitor(pin_house, address=f"198.51.100.{number}")
        await stranger.begin()
        await stranger.ask(ALICE)
    assert len(mail_server.mails) == 5

    await log_in(alice, mail_server)
    house.clock.now += 89 * 86400
    await log_in(alice, mail_server)


async def test_a_flood_does_not_either(house: House, mail_server: MailServer) -> None:
    house.load(CONFIG)
    pin_house = PinHouse(house, mail_server, settings={"code_rate_limit": {"in_all": 2}})
    alice = Visitor(pin_house)
    await log_in(alice, mail_server)
    for number in range(3):
        stranger = Visitor(pin_house, address=f"198.51.100.{number}")
        await stranger.begin()
        await stranger.ask(f"somebody{number}@example.com")
    assert len(mail_server.mails) == 1

    await log_in(alice, mail_server)
    pin_house.close()


async def test_a_known_browser_has_limits_too_and_only_for_its_own_address(
    pin_house: PinHouse, mail_server: MailServer
) -> None:
    alice = Visitor(pin_house)
    await log_in(alice, mail_server)
    await alice.begin()
    for _ in range(8):
        await alice.ask(ALICE)
    assert len(mail_server.mails) == 5

    mail_server.mails.clear()
    for browser in (Visitor(pin_house), alice):
        for _ in range(4):
            await browser.begin()
            await browser.ask("bob@example.com")
    assert len(mail_server.mails) == 5


async def test_a_known_browser_is_let_in_by_nothing_of_that(pin_house: PinHouse, mail_server: MailServer) -> None:
    alice = Visitor(pin_house)
    await log_in(alice, mail_server)

    assert isinstance(await alice.begin(), AskAddress)
    await alice.ask(ALICE)
    assert isinstance(await alice.type_code(wrong_code(mail_server.mails[-1].code)), AskCode)


async def test_a_flood_from_everywhere_sends_two_hundred_mails_and_keeps_the_store_small(
    pin_house: PinHouse, house: House, mail_server: MailServer
) -> None:
    for number in range(260):
        visitor = Visitor(pin_house, address=f"203.{number // 100}.{number % 100}.1")
        await visitor.begin()
        await visitor.ask(f"somebody{number}@example.com", settle=False)
    await pin_house.mails.settle()

    assert len(mail_server.mails) == 200
    kinds = [value.kind async for value in house.store.read_values(now=NOW)]
    assert kinds.count("pin") == 200


async def test_who_could_not_be_let_in_leaves_no_row_behind_but_the_counters_of_the_network(
    pin_house: PinHouse, house: House
) -> None:
    for number in range(30):
        visitor = Visitor(pin_house, address=f"203.0.113.{number % 4}")
        await visitor.begin()
        await visitor.ask(f"somebody{number}@elsewhere.example")

    assert await house.store.size() == 5
