"""Codes by mail: to whom they go and to whom not, how many of them, and mail servers that fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from authd.errors import StoreUnavailableError
from authd.login_steps import AskAddress, AskCode, Redirect
from authd.pin_outbox import MAX_PENDING, RETRY_SECONDS
from tests.authd.house import House
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


# --- mail servers that fail ------------------------------------------------------------------------------------------


async def test_a_mail_server_that_says_later_is_asked_again(visitor: Visitor, mail_server: MailServer) -> None:
    mail_server.refusals += ["451 later", "451 later"]
    await visitor.begin()
    await visitor.ask(ALICE)

    assert len(mail_server.mails) == 1
    waited = visitor.pin_house.sleeps
    assert waited[1:] == list(RETRY_SECONDS[:2])
    assert 0 <= waited[0] < 0.5
    assert isinstance(await visitor.type_code(mail_server.mails[-1].code), Redirect)


@pytest.mark.parametrize(("reply", "tries"), [("451 later", len(RETRY_SECONDS) + 1), ("550 never", 1)])
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
            if seconds == RETRY_SECONDS[0]:
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
