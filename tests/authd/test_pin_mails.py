"""Codes by mail: to whom they go and to whom not, how many of them, and mail servers that fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from authd.errors import LoginLimitError, StoreUnavailableError
from authd.login import TEAM_COOKIE
from authd.login_steps import AskAddress, AskCode, Redirect
from authd.pin_mails import MAX_PENDING, RETRY_SECONDS
from tests.authd.house import NOW, TEAM, House
from tests.authd.pins import CONFIG, PinHouse, Visitor, wrong_code
from tests.harness.smtp import MailServer, start_mail_server

ALICE = "alice@example.com"


# --- whom a code goes to ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["alice@elsewhere.example", "mallory@example.com"])
async def test_who_could_not_be_let_in_gets_no_mail_and_the_same_pages(
    visitor: Visitor, mail_server: MailServer, house: House, address: str
) -> None:
    await visitor.begin()

    assert isinstance(await visitor.ask(address), Redirect)

    page = visitor.show()
    assert isinstance(page, AskCode)
    assert page.mistake == ""
    assert mail_server.mails == []
    wrong = await visitor.type_code("123456")
    assert isinstance(wrong, AskCode)
    assert "wrong" in wrong.mistake


async def test_a_code_asked_for_one_address_is_no_code_of_another(pin_house: PinHouse, mail_server: MailServer) -> None:
    alice, other = Visitor(pin_house), Visitor(pin_house)
    for visitor, address in ((alice, ALICE), (other, "mallory@elsewhere.example")):
        await visitor.begin()
        await visitor.ask(address)

    assert isinstance(await other.type_code(mail_server.mails[-1].code), AskCode)


async def test_the_same_is_asked_of_the_store_whoever_asks_until_nobody_waits_any_more(
    pin_house: PinHouse, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time is measured here: what an answer waits for is the same, call by call."""
    calls: list[tuple[str, str]] = []
    store = pin_house.house.store

    def record(name: str) -> None:
        method = getattr(store, name)

        async def recorded(kind: str, *arguments: Any, **options: Any) -> Any:
            calls.append((name, kind))
            return await method(kind, *arguments, **options)

        monkeypatch.setattr(store, name, recorded)

    for name in ("count", "find", "put", "put_if_absent", "take"):
        record(name)
    seen = []
    for address in (ALICE, "mallory@elsewhere.example"):
        visitor = Visitor(pin_house)
        await visitor.begin()
        calls.clear()
        await visitor.ask(address, settle=False)
        asked = list(calls)
        await pin_house.mails.settle()
        calls.clear()
        await visitor.type_code("000000")
        seen.append((asked, list(calls)))

    assert len(mail_server.mails) == 1
    assert seen[0] == seen[1]
    assert [len(part) for part in seen[0]] == [2, 3]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alice",
        "alice@",
        "@example.com",
        "alice@example.com\r\nBcc: mallory@elsewhere.example",
        "alice@example.com, mallory@elsewhere.example",
        "alice@example.com>\r\nRCPT TO:<mallory@elsewhere.example",
        '"alice@example.com"@elsewhere.example',
        "<alice@example.com>",
        "alice@example.com\0",
        "mallory%elsewhere.example@example.com",
        "elsewhere.example!mallory@example.com",
        "mallory+alice@example.com",
        "alice@exa\u212ample.com",
        "a" * 65 + "@example.com",
    ],
)
async def test_what_is_no_address_is_told_and_sends_nothing(
    visitor: Visitor, mail_server: MailServer, house: House, address: str
) -> None:
    await visitor.begin()

    found = await visitor.ask(address)

    assert isinstance(found, AskAddress)
    assert "no e-mail address" in found.mistake
    assert mail_server.mails == []
    assert await house.store.size() == 0


async def test_subaddresses_are_taken_where_that_is_wanted(house: House, mail_server: MailServer) -> None:
    house.load(CONFIG)
    pin_house = PinHouse(house, mail_server, settings={"allow_subaddresses": True})
    visitor = Visitor(pin_house)
    await visitor.begin()
    await visitor.ask("alice+grafana@example.com")

    assert [mail.recipients for mail in mail_server.mails] == [("alice+grafana@example.com",)]
    pin_house.close()


@pytest.mark.parametrize(
    ("typed", "recipient"),
    [("zoe@exämple.com", "zoe@xn--exmple-cua.com"), ("žofie@EXÄMPLE.com", "žofie@xn--exmple-cua.com")],
)
async def test_international_addresses_get_their_mail(
    visitor: Visitor, mail_server: MailServer, typed: str, recipient: str
) -> None:
    await visitor.begin()
    await visitor.ask(typed)

    (mail,) = mail_server.mails
    assert mail.recipients == (recipient,)
    assert mail.message["To"].addresses[0].addr_spec == recipient
    assert isinstance(await visitor.type_code(mail.code), Redirect)


# --- how much of it --------------------------------------------------------------------------------------------------


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


# --- mail servers that fail ------------------------------------------------------------------------------------------


async def test_a_mail_server_that_says_later_is_asked_again(visitor: Visitor, mail_server: MailServer) -> None:
    mail_server.refusals += ["451 later", "451 later"]
    await visitor.begin()
    await visitor.ask(ALICE)

    assert len(mail_server.mails) == 1
    waited = visitor.pin_house.sleeps
    assert waited[1:] == list(RETRY_SECONDS[:3])
    assert 0 <= waited[0] < 0.5
    assert isinstance(await visitor.type_code(mail_server.mails[-1].code), Redirect)


@pytest.mark.parametrize(("reply", "tries"), [("451 later", len(RETRY_SECONDS)), ("550 never", 1)])
async def test_a_mail_server_that_goes_on_refusing_is_counted_and_shows_on_no_page(
    visitor: Visitor, mail_server: MailServer, caplog: pytest.LogCaptureFixture, reply: str, tries: int
) -> None:
    mail_server.refusals += [reply] * tries
    await visitor.begin()

    assert isinstance(await visitor.ask(ALICE), Redirect)

    assert isinstance(visitor.show(), AskCode)
    assert mail_server.refusals == []
    assert 'authd_code_mails_total{idp="guests",outcome="failed"} 1.0' in visitor.pin_house.metrics.render().decode()
    failed = [record for record in caplog.records if record.message == "pin.mail_failed"]
    assert [record.fields["cause"] for record in failed] == ["recipient"]  # type: ignore[attr-defined]
    assert [record.levelname for record in failed] == ["ERROR"]


async def test_a_reload_that_brings_another_mail_server_saves_the_mails_in_hand(
    visitor: Visitor, mail_server: MailServer, tmp_path: Path
) -> None:
    pin_house = visitor.pin_house
    with start_mail_server(tmp_path, demands_login=False) as other:
        mail_server.refusals.append("451 later")
        replaced = pin_house.provider

        async def reload_while_it_waits(seconds: float) -> None:
            if seconds == RETRY_SECONDS[1]:
                changes = {"server": f"localhost:{other.port}", "ca_file": str(other.certificate)}
                pin_house.provider = pin_house.make_provider(**changes)
                pin_house.house.providers["guests"] = pin_house.provider
                replaced.close()

        pin_house.mails._sleep = reload_while_it_waits
        await visitor.begin()
        await visitor.ask(ALICE)

        assert [len(server.mails) for server in (mail_server, other)] == [0, 1]


async def test_the_log_has_neither_code_nor_key_nor_state(
    visitor: Visitor, mail_server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "authd")
    mail_server.refusals.append("451 later")
    await visitor.begin()
    await visitor.ask(ALICE)
    mail = mail_server.mails[-1]
    await visitor.type_code(wrong_code(mail.code))

    lines = "\n".join(f"{record.message} {getattr(record, 'fields', '')}" for record in caplog.records)
    assert "pin.mail_sent" in lines
    for secret in (mail.code, *parse_qs(urlsplit(mail.link).query)["key"], *parse_qs(visitor.query)["state"]):
        assert secret not in lines


async def test_a_store_that_fails_behind_the_visitors_back_is_told_to_the_operator(
    visitor: Visitor, mail_server: MailServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("the store does not answer")

    await visitor.begin()
    monkeypatch.setattr(visitor.pin_house.house.store, "put", fail)

    assert isinstance(await visitor.ask(ALICE), Redirect)

    assert mail_server.mails == []
    failed = [record for record in caplog.records if record.message == "pin.mail_failed"]
    assert [record.fields["cause"] for record in failed] == [StoreUnavailableError.code]  # type: ignore[attr-defined]


async def test_a_worker_has_two_hundred_mails_in_hand_and_no_more(
    pin_house: PinHouse, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the mail server does not answer, and many ask."""
    may_go_on = asyncio.Event()

    async def wait(seconds: float) -> None:
        await may_go_on.wait()

    monkeypatch.setattr(pin_house.mails, "_sleep", wait)
    for number in range(MAX_PENDING + 20):
        visitor = Visitor(pin_house, address=f"203.{number // 100}.{number % 100}.1")
        await visitor.begin()
        await visitor.ask("nobody@elsewhere.example", settle=False)

    text = pin_house.metrics.render().decode()
    assert 'authd_code_mails_total{idp="guests",outcome="not_sent"} 20.0' in text
    may_go_on.set()
    await pin_house.mails.settle()
