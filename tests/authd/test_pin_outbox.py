"""Mails with codes that wait in the store: whatever becomes of their worker, they go out, and once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from authd.errors import StoreUnavailableError
from authd.login_steps import Redirect
from authd.pin_outbox import RETRY_SECONDS, PinOutbox
from tests.authd.house import NOW, House
from tests.authd.pins import PinHouse, Visitor
from tests.harness.smtp import MailServer

ALICE = "alice@example.com"
LEASE_SECONDS = 30


async def waiting_rows(house: House) -> list[bytes]:
    return [row.value async for row in house.store.read_values(now=int(house.clock())) if row.kind == "pin_mail"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


def hold(outbox: PinOutbox, *seconds: float) -> None:
    """Let it wait for ever where it would wait so long."""

    async def sleep(wanted: float) -> None:
        if wanted in seconds:
            await asyncio.Event().wait()

    outbox._sleep = sleep


async def ask_while_the_server_says_later(visitor: Visitor, mail_server: MailServer) -> None:
    """Until the mail waits for its second try."""
    pin_house = visitor.pin_house
    hold(pin_house.mails, RETRY_SECONDS[0])
    mail_server.refusals.append("451 later")
    await visitor.begin()
    await visitor.ask(ALICE, settle=False)

    async def is_put_off() -> bool:
        (row,) = await waiting_rows(pin_house.house) or [b""]
        mails = await pin_house.rows.list_mails(now=int(pin_house.house.clock()))
        return bool(row) and mails[0][1].due_at == NOW + RETRY_SECONDS[0]

    await until(is_put_off)


async def adopt(pin_house: PinHouse, outbox: PinOutbox, after_seconds: int) -> int:
    """What another worker sends so much later."""
    before = len(pin_house.mail_server.mails)
    pin_house.house.clock.now = NOW + after_seconds
    await outbox.adopt()
    await outbox.settle()
    return len(pin_house.mail_server.mails) - before


@pytest.mark.parametrize("how", ["stop", "close"])
async def test_a_mail_that_waits_is_sent_by_another_worker_when_its_own_is_gone(
    visitor: Visitor, mail_server: MailServer, house: House, how: str
) -> None:
    pin_house = visitor.pin_house
    await ask_while_the_server_says_later(visitor, mail_server)
    if how == "stop":
        await pin_house.mails.stop()
    else:
        pin_house.mails.close()
    pin_house.pins, other = pin_house.make_worker()

    assert await adopt(pin_house, other, RETRY_SECONDS[0]) == 0, "not before its time"
    assert await adopt(pin_house, other, RETRY_SECONDS[0] + 5) == 1
    assert await adopt(pin_house, other, 120) == 0
    assert await waiting_rows(house) == []
    assert isinstance(await visitor.type_code(mail_server.mails[-1].code), Redirect)


async def test_of_many_workers_one_takes_it_over(visitor: Visitor, mail_server: MailServer) -> None:
    pin_house = visitor.pin_house
    await ask_while_the_server_says_later(visitor, mail_server)
    pin_house.mails.close()
    others = [pin_house.make_worker()[1] for _ in range(5)]

    pin_house.house.clock.now = NOW + 20
    await asyncio.gather(*(other.adopt() for other in others))
    await asyncio.gather(*(other.settle() for other in others))

    assert len(mail_server.mails) == 1


async def test_a_mail_in_hand_is_nobody_elses(visitor: Visitor, mail_server: MailServer) -> None:
    """Its worker lives and tries it in time; whoever comes by late finds that it is gone."""
    pin_house = visitor.pin_house
    released = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds == RETRY_SECONDS[0]:
            await released.wait()

    pin_house.mails._sleep = sleep
    mail_server.refusals.append("451 later")
    await visitor.begin()
    await visitor.ask(ALICE, settle=False)
    await until(lambda: _is_refused(mail_server))
    _, other = pin_house.make_worker()
    pin_house.house.clock.now = NOW + RETRY_SECONDS[0]
    released.set()
    await asyncio.gather(other.adopt(), pin_house.mails.settle(), other.settle())
    assert await adopt(pin_house, other, 60) == 0
    assert len(mail_server.mails) == 1


async def _is_refused(mail_server: MailServer) -> bool:
    return not mail_server.refusals


async def test_a_worker_that_dies_while_it_tries_leaves_the_mail_to_others(
    visitor: Visitor, mail_server: MailServer, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_house = visitor.pin_house
    is_trying = asyncio.Event()

    async def hang(*_: object) -> None:
        is_trying.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(pin_house.provider, "send", hang)
        await visitor.begin()
        await visitor.ask(ALICE, settle=False)
        await is_trying.wait()
        pin_house.mails.close()
        await asyncio.sleep(0)
    _, other = pin_house.make_worker()

    assert await adopt(pin_house, other, LEASE_SECONDS) == 0, "it may still be under way"
    assert await adopt(pin_house, other, LEASE_SECONDS + 5) == 1
    assert await waiting_rows(house) == []


async def test_what_was_asked_for_in_the_last_moment_goes_out_at_once(
    visitor: Visitor, mail_server: MailServer
) -> None:
    async def wait(seconds: float) -> None:
        await asyncio.Event().wait()

    visitor.pin_house.mails._sleep = wait
    await visitor.begin()
    await visitor.ask(ALICE, settle=False)
    await asyncio.sleep(0.05)
    assert mail_server.mails == []

    await visitor.pin_house.mails.stop()

    assert len(mail_server.mails) == 1


async def test_a_stop_does_not_wait_for_ever(visitor: Visitor, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(visitor.pin_house.provider, "send", hang)
    monkeypatch.setattr("authd.pin_outbox.STOP_SECONDS", 0.3)
    await visitor.begin()
    await visitor.ask(ALICE, settle=False)

    async with asyncio.timeout(10):
        await visitor.pin_house.mails.stop()

    assert len(await waiting_rows(house)) == 1


async def test_neither_code_nor_key_nor_address_can_be_read_in_the_store(
    visitor: Visitor, mail_server: MailServer, house: House
) -> None:
    await ask_while_the_server_says_later(visitor, mail_server)
    (row,) = await waiting_rows(house)
    ((_, mail),) = await visitor.pin_house.rows.list_mails(now=NOW)
    for secret in (mail.content["code"], mail.content["link"], ALICE):
        assert secret.encode() not in row
    assert mail.content["code"] not in repr(mail)


@pytest.mark.parametrize(("reply", "times"), [("550 never", 1), ("451 later", len(RETRY_SECONDS) + 1)])
async def test_a_mail_that_was_given_up_is_not_tried_again(
    visitor: Visitor, mail_server: MailServer, house: House, reply: str, times: int
) -> None:
    mail_server.refusals += [reply] * times
    await visitor.begin()
    await visitor.ask(ALICE)

    assert mail_server.refusals == []
    assert await waiting_rows(house) == []


async def test_a_code_that_is_too_old_is_not_sent(visitor: Visitor, mail_server: MailServer) -> None:
    await ask_while_the_server_says_later(visitor, mail_server)
    visitor.pin_house.mails.close()

    assert await adopt(visitor.pin_house, visitor.pin_house.make_worker()[1], 600) == 0


async def test_a_store_that_fails_before_the_first_try_costs_time_and_not_the_mail(
    visitor: Visitor, mail_server: MailServer, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "replace", fail)
        await visitor.begin()
        await visitor.ask(ALICE)
    assert mail_server.mails == []

    assert await adopt(visitor.pin_house, visitor.pin_house.mails, 5) == 1


async def test_a_row_that_somebody_else_wrote_sends_nothing(
    visitor: Visitor, mail_server: MailServer, house: House
) -> None:
    await ask_while_the_server_says_later(visitor, mail_server)
    visitor.pin_house.mails.close()
    (row,) = await waiting_rows(house)
    await house.store.put("pin_mail", "another", row, expires_at=NOW + 600, owner="outbox")
    await house.store.put("pin_mail", "forged", b"{}", expires_at=NOW + 600, owner="outbox")

    assert await adopt(visitor.pin_house, visitor.pin_house.make_worker()[1], 20) == 1
