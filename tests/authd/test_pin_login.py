"""The login by a code: whom a code goes to, what it is worth, for how long, how often, and to which browser."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from authd.errors import LoginError
from authd.login import TEAM_COOKIE
from authd.login_steps import AskAddress, AskCode, Denied, Elsewhere, Redirect
from authd.pin_login import MAX_TRIES
from authd.pin_requests import CODE_SECONDS, KNOWN_COOKIE
from tests.authd.house import NOW, TEAM, House
from tests.authd.pins import CONFIG, HOST, PinHouse, Visitor, wrong_code
from tests.harness.smtp import MailServer

ALICE = "alice@example.com"


async def test_the_whole_way_ends_with_a_token_for_that_application(
    visitor: Visitor, house: House, mail_server: MailServer
) -> None:
    assert isinstance(await visitor.begin(), AskAddress)
    assert isinstance(await visitor.ask("Alice@EXAMPLE.com "), Redirect)
    page = visitor.show()
    assert isinstance(page, AskCode)
    assert (page.email, page.key, page.exhausted) == (ALICE, "", False)

    found = await visitor.type_code(mail_server.mails[-1].code)

    assert isinstance(found, Redirect)
    assert found.session is not None
    identity = found.session.identity
    assert (identity.email, identity.provider_id, identity.provider_subject) == (ALICE, "guests", ALICE)
    assert (identity.groups, identity.auth_methods, identity.authenticated_at) == ((), (), NOW)
    assert set(visitor.jars[TEAM]) == {TEAM_COOKIE, KNOWN_COOKIE}
    await visitor.redeem(found.location)
    claims = jwt.decode(visitor.jars[HOST]["CF_AUTHORIZATION"], options={"verify_signature": False})
    assert claims["aud"] == [house.index.get_application("grafana").aud]
    assert claims["email"] == ALICE


async def test_a_rule_on_the_login_method_admits_any_address(visitor: Visitor, mail_server: MailServer) -> None:
    await visitor.begin("wiki")
    await visitor.ask("somebody@elsewhere.example")

    assert isinstance(await visitor.type_code(mail_server.mails[-1].code), Redirect)


@pytest.mark.parametrize("code", ["123 456", "123-456", " 123456\n", "１２３４５６", "123\u2010456"])
async def test_a_code_may_be_typed_in_several_ways(house: House, mail_server: MailServer, code: str) -> None:
    house.load(CONFIG)
    pin_house = PinHouse(house, mail_server, new_code=lambda digits: "123456")
    visitor = Visitor(pin_house)
    await visitor.begin()
    await visitor.ask(ALICE)

    assert isinstance(await visitor.type_code(code), Redirect)
    pin_house.close()


async def test_codes_are_six_digits_and_differ(visitor: Visitor, mail_server: MailServer) -> None:
    for _ in range(4):
        await visitor.begin()
        await visitor.ask(ALICE)

    codes = [mail.code for mail in mail_server.mails]
    assert len(set(codes)) > 1
    assert all(len(code) == 6 for code in codes)


async def test_the_same_address_is_the_same_person_and_another_one_somebody_else(
    visitor: Visitor, pin_house: PinHouse
) -> None:
    identify = pin_house.provider.identify

    assert identify(ALICE).subject == identify(ALICE).subject
    assert identify(ALICE).subject != identify("alice2@example.com").subject


# --- what a code is worth --------------------------------------------------------------------------------------------


async def test_a_code_is_good_for_ten_minutes_and_not_for_longer(
    pin_house: PinHouse, house: House, mail_server: MailServer
) -> None:
    early, late = Visitor(pin_house), Visitor(pin_house)
    for visitor in (early, late):
        await visitor.begin()
    house.clock.now += CODE_SECONDS - 1  # somebody reads the first page for long
    codes = []
    for visitor in (early, late):
        await visitor.ask(ALICE)
        codes.append(mail_server.mails[-1].code)

    house.clock.now += CODE_SECONDS - 1
    assert isinstance(await early.type_code(codes[0]), Redirect)
    house.clock.now += 1
    answer = await late.type_code(codes[1])
    assert isinstance(answer, AskAddress)
    assert "too old" in answer.mistake
    await late.ask(ALICE)
    assert isinstance(await late.type_code(mail_server.mails[-1].code), Redirect)


async def test_half_an_hour_after_the_last_code_the_attempt_is_over(visitor: Visitor, house: House) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    house.clock.now += 3 * CODE_SECONDS

    with pytest.raises(LoginError) as caught:
        await visitor.ask(ALICE)
    assert caught.value.code == "state_invalid"


async def test_a_row_whose_time_was_prolonged_in_the_store_is_too_old_all_the_same(
    visitor: Visitor, house: House, mail_server: MailServer
) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    (row,) = [value async for value in house.store.read_values(now=NOW) if value.kind == "pin"]
    await house.store.put("pin", row.id, row.value, expires_at=NOW + 10**6)

    assert await house.records.find_pin(row.id, now=NOW + CODE_SECONDS - 1) is not None
    assert await house.records.find_pin(row.id, now=NOW + CODE_SECONDS) is None


async def test_a_code_is_spent_once_however_many_come_at_once(
    visitor: Visitor, house: House, mail_server: MailServer
) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    code, client = mail_server.mails[-1].code, visitor.client()

    found = await asyncio.gather(
        *(visitor.pin_house.pins.verify(visitor.query, code, "", client) for _ in range(MAX_TRIES)),
        return_exceptions=True,
    )

    assert len([each for each in found if isinstance(each, Redirect)]) == 1
    sessions = [value async for value in house.store.read_values(now=NOW) if value.kind == "session"]
    assert len(sessions) == 1


async def test_a_spent_code_is_worth_nothing_with_the_cookies_of_before(
    visitor: Visitor, mail_server: MailServer
) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    before = {host: dict(jar) for host, jar in visitor.jars.items()}
    code = mail_server.mails[-1].code
    assert isinstance(await visitor.type_code(code), Redirect)

    visitor.jars = before
    assert isinstance(await visitor.type_code(code), AskCode)


async def test_five_wrong_codes_and_the_right_one_comes_too_late(visitor: Visitor, mail_server: MailServer) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    code = mail_server.mails[-1].code
    for _ in range(MAX_TRIES):
        answer = await visitor.type_code(wrong_code(code))
        assert isinstance(answer, AskCode)
        assert not answer.exhausted

    late = await visitor.type_code(code)

    assert isinstance(late, AskCode)
    assert late.exhausted
    await visitor.resend()
    assert isinstance(await visitor.type_code(mail_server.mails[-1].code), Redirect)


async def test_the_fifth_try_still_counts(visitor: Visitor, mail_server: MailServer) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    code = mail_server.mails[-1].code
    for _ in range(MAX_TRIES - 1):
        await visitor.type_code(wrong_code(code))

    assert isinstance(await visitor.type_code(code), Redirect)


async def test_a_new_code_takes_the_place_of_the_old_one(visitor: Visitor, mail_server: MailServer) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    await visitor.resend()
    first, second = (mail.code for mail in mail_server.mails)

    if first != second:
        assert isinstance(await visitor.type_code(first), AskCode)
    assert isinstance(await visitor.type_code(second), Redirect)


async def test_the_store_holds_neither_code_nor_address_in_clear(
    visitor: Visitor, house: House, mail_server: MailServer
) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)

    (row,) = [value async for value in house.store.read_values(now=NOW) if value.kind == "pin"]
    assert ALICE.encode() not in row.value
    opened = house.sealer.open("pin", row.id, row.value)
    assert mail_server.mails[-1].code.encode() not in opened


async def test_a_policy_that_changed_meanwhile_denies(visitor: Visitor, house: House, mail_server: MailServer) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    house.load(CONFIG.replace("{email: mallory@example.com}", "{email: alice@example.com}"))

    found = await visitor.type_code(mail_server.mails[-1].code)

    assert isinstance(found, Denied)
    assert found.session.identity.email == ALICE


async def test_an_application_that_no_longer_allows_the_provider_ends_the_attempt(
    visitor: Visitor, house: House, mail_server: MailServer
) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    house.load(
        CONFIG.replace("domains: [grafana.example.com]", "domains: [grafana.example.com]\n    allowed_idps: [corp]")
    )

    with pytest.raises(LoginError) as caught:
        await visitor.type_code(mail_server.mails[-1].code)
    assert caught.value.code == "configuration_changed"


# --- to which browser ------------------------------------------------------------------------------------------------


async def test_another_browser_can_do_nothing_with_code_or_link(pin_house: PinHouse, mail_server: MailServer) -> None:
    asked, other = Visitor(pin_house), Visitor(pin_house)
    await asked.begin()
    await asked.ask(ALICE)
    mail = mail_server.mails[-1]

    other.query = urlsplit(mail.link).query
    assert isinstance(other.show(), Elsewhere)
    with pytest.raises(LoginError):
        await other.type_code(mail.code)
    with pytest.raises(LoginError):
        await other.type_code("", key=parse_qs(other.query)["key"][0])


async def test_another_attempt_of_the_same_browser_can_do_nothing_with_it_either(
    visitor: Visitor, mail_server: MailServer
) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    code = mail_server.mails[-1].code
    await visitor.begin()

    assert isinstance(await visitor.type_code(code), AskAddress)


async def test_a_request_of_another_attempt_is_not_believed(visitor: Visitor, mail_server: MailServer) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    code = mail_server.mails[-1].code
    (old,) = [value for name, value in visitor.jars[TEAM].items() if name.startswith("__Host-authd_pin_")]
    await visitor.begin()
    new_id = parse_qs(visitor.query)["state"][0].partition(".")[0]
    visitor.jars[TEAM][f"__Host-authd_pin_{new_id}"] = old

    assert isinstance(await visitor.type_code(code), AskAddress)


async def test_looking_at_the_link_changes_nothing_and_confirming_it_logs_in(
    visitor: Visitor, mail_server: MailServer, house: House
) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)
    query = urlsplit(mail_server.mails[-1].link).query
    size = await house.store.size()
    visitor.query = query

    pages = [visitor.show() for _ in range(3)]

    assert all(isinstance(page, AskCode) and page.key == parse_qs(query)["key"][0] for page in pages)
    assert await house.store.size() == size
    assert isinstance(await visitor.type_code("", key=parse_qs(query)["key"][0]), Redirect)


async def test_a_wrong_key_is_a_wrong_try(visitor: Visitor, mail_server: MailServer) -> None:
    await visitor.begin()
    await visitor.ask(ALICE)

    for _ in range(MAX_TRIES):
        assert isinstance(await visitor.type_code("", key="x" * 22), AskCode)
    late = await visitor.type_code(mail_server.mails[-1].code)
    assert isinstance(late, AskCode)
    assert late.exhausted


async def test_the_callback_is_no_way_in(visitor: Visitor, house: House) -> None:
    await visitor.begin()

    with pytest.raises(Exception, match="callback"):
        await house.login.finish(visitor.query + "&code=123456", visitor.client())


async def test_many_attempts_of_one_browser_keep_its_cookies_bounded(house: House, mail_server: MailServer) -> None:
    house.load(CONFIG)
    pin_house = PinHouse(house, mail_server, settings={"code_rate_limit": {"per_address": 100, "per_email": 100}})
    visitor = Visitor(pin_house)
    for _ in range(12):
        house.clock.now += 1
        await visitor.begin()
        await visitor.ask("nobody@elsewhere.example")

    assert len(visitor.client().cookie_header) < 14_000
    assert len([name for name in visitor.jars[TEAM] if name.startswith("__Host-authd_pin_")]) == 5
    assert isinstance(visitor.show(), AskCode)
    pin_house.close()


async def test_an_attempt_with_a_long_address_to_return_to_survives_being_prolonged(
    pin_house: PinHouse, house: House, mail_server: MailServer
) -> None:
    visitor = Visitor(pin_house)
    application = house.index.get_application("grafana")
    begun = house.login.begin(application, HOST, "/" + "x" * 7000, "")
    visitor.keep(HOST, begun)
    started = await house.login.start(HOST, f"{urlsplit(begun.location).query}&idp=guests", visitor.client())
    assert isinstance(started, Redirect)
    visitor.keep(TEAM, started)
    visitor.query = urlsplit(started.location).query

    await visitor.ask(ALICE)

    found = await visitor.type_code(mail_server.mails[-1].code)
    assert isinstance(found, Redirect)
    assert (await visitor.redeem(found.location)).location == f"https://{HOST}/" + "x" * 7000
