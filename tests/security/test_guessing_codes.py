"""Guessing the code that was mailed to somebody else, with many attempts, browsers and workers at once."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from authd.login_steps import AskCode, Redirect
from authd.pin_login import MAX_TRIES
from tests.authd.house import NOW, House
from tests.authd.pins import CONFIG, PinHouse, Visitor
from tests.harness.memory import find_memory_directory
from tests.harness.smtp import start_mail_server

VICTIM = "alice@example.com"
BROWSERS = 40
MAILS = 30


@pytest.fixture
async def pin_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PinHouse]:
    # These are no tests of the store, whose fifth of a second a busy machine misses.
    monkeypatch.setattr("authd.state.sqlite.DEADLINE_SECONDS", 5.0)
    with (
        tempfile.TemporaryDirectory(dir=find_memory_directory()) as directory,
        start_mail_server(tmp_path, demands_login=False) as mail_server,
    ):
        house = House(Path(directory), CONFIG)
        await house.sessions.start()
        made = PinHouse(house, mail_server)
        yield made
        made.close()
        house.issuers.close()
        await house.store.close()


def codes_that_are_none(mails: list[str]) -> list[str]:
    """Guesses that are all wrong, so that what is counted is not a matter of luck."""
    return [guess for guess in (f"{number:06d}" for number in range(1000)) if guess not in mails][:MAX_TRIES]


async def test_guesses_are_bounded_by_the_mails_and_not_by_the_browsers(
    pin_house: PinHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each browser has attempts and cookies of its own, and comes from an address of its own, to one of two workers."""
    workers = [(pin_house.pins, pin_house.mails), pin_house.make_worker()]
    compared = 0
    find_pin = pin_house.house.records.find_pin

    async def count_found(pin_id: str, *, now: int) -> object:
        nonlocal compared
        found = await find_pin(pin_id, now=now)
        compared += found is not None
        return found

    monkeypatch.setattr(pin_house.house.records, "find_pin", count_found)
    visitors = [Visitor(pin_house, address=f"198.{number}.0.1") for number in range(BROWSERS)]
    for visitor in visitors:
        await visitor.begin()
    for number, visitor in enumerate(visitors):
        pin_house.pins, pin_house.mails = workers[number % 2]
        await visitor.ask(VICTIM, settle=False)
    await asyncio.gather(*(mails.settle() for _, mails in workers))
    mails = [mail.code for mail in pin_house.mail_server.mails]
    assert len(mails) == MAILS

    guesses = [*codes_that_are_none(mails), "999999", "888888", "777777"]
    clients = [(visitor.query, visitor.client()) for visitor in visitors]
    answers = []
    for guess in guesses:  # not all at once: on a busy machine the store would miss its deadline
        answers += await asyncio.gather(
            *(workers[number % 2][0].verify(query, guess, "", client) for number, (query, client) in enumerate(clients))
        )

    assert all(isinstance(answer, AskCode) for answer in answers)
    assert compared == MAILS * MAX_TRIES


async def test_a_day_of_guessing_from_everywhere_is_worth_little_more_than_a_hundred_guesses(
    pin_house: PinHouse,
) -> None:
    """As many networks as anybody wants: the mailbox gets 30 an hour, and what goes beyond 20 a day is longer."""
    for quarter in range(4 * 24):
        for number in range(8):
            visitor = Visitor(pin_house, address=f"198.{quarter}.{number}.1")
            await visitor.begin()
            await visitor.ask(VICTIM)
        pin_house.house.clock.now += 15 * 60
    digits = [len(mail.code) for mail in pin_house.mail_server.mails]

    assert len(digits) == 30 * 24
    assert digits.count(6) == 20
    assert sum(MAX_TRIES / 10**number for number in digits) < 140e-6


async def test_a_stranger_takes_nobodys_codes_away_elsewhere(pin_house: PinHouse) -> None:
    """All day from one network, which first denied Alice hers everywhere."""
    for _ in range(48):
        for _ in range(3):
            visitor = Visitor(pin_house, address="198.51.100.1")
            await visitor.begin()
            await visitor.ask(VICTIM)
        owner = Visitor(pin_house, address="192.0.2.1")
        before = len(pin_house.mail_server.mails)
        if pin_house.house.clock.now % 7200 < 1800:
            await owner.begin()
            await owner.ask(VICTIM)
            assert len(pin_house.mail_server.mails) == before + 1
            assert isinstance(await owner.type_code(pin_house.mail_server.mails[-1].code), Redirect)
        pin_house.house.clock.now += 1800
    strangers = [mail for mail in pin_house.mail_server.mails if "198.51.100.1" in mail.plain]
    assert len(strangers) == 20


async def test_the_owner_gets_in_while_others_guess(pin_house: PinHouse) -> None:
    owner, guesser = Visitor(pin_house), Visitor(pin_house, address="198.51.100.1")
    for visitor in (owner, guesser):
        await visitor.begin()
        await visitor.ask(VICTIM)
    first, _ = (mail.code for mail in pin_house.mail_server.mails)
    for guess in [*codes_that_are_none([mail.code for mail in pin_house.mail_server.mails]), "999999"]:
        await guesser.type_code(guess)

    assert isinstance(await owner.type_code(first), Redirect)


async def test_what_was_mailed_to_the_owner_is_worth_nothing_in_the_guessers_browser(pin_house: PinHouse) -> None:
    """Not even a code that the owner reads out of another mail than the guesser's own."""
    owner, guesser = Visitor(pin_house), Visitor(pin_house, address="198.51.100.1")
    for visitor in (guesser, owner):
        await visitor.begin()
        await visitor.ask(VICTIM)
    mails = pin_house.mail_server.mails
    if mails[0].code != mails[1].code:
        assert isinstance(await guesser.type_code(mails[1].code), AskCode)
    rows = [row async for row in pin_house.house.store.read_values(now=NOW) if row.kind == "pin"]
    assert len(rows) == 2
