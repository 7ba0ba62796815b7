"""Logging in with a code by mail, through nginx, `authd serve` and a real mail server."""

from __future__ import annotations

import re
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.authd.pins import wrong_code
from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import Answer, Browser
from tests.harness.smtp import PASSWORD, MailServer
from tests.harness.stack import TEAM, Stack
from tests.stories.codes import (
    FOREIGN_FORM,
    OWN_FORM,
    ask_for_code,
    go_on,
    go_to_address_page,
    send,
    start_stack_with_codes,
)
from tests.stories.waiting import wait_until

ALICE = "alice@example.com"
# As long as the other, so that answers can be compared to the letter.
STRANGER = "alice@example.org"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, MailServer]]:
    with start_stack_with_codes(tmp_path_factory.mktemp("codes"), workers=2) as both:
        yield both


@pytest.fixture
def stack(running: tuple[Stack, MailServer]) -> Stack:
    running[0].application.seen.clear()
    return running[0]


@pytest.fixture
def mail_server(running: tuple[Stack, MailServer]) -> MailServer:
    running[1].mails.clear()
    running[1].refusals.clear()
    return running[1]


def shape_of(answer: Answer, address: str) -> tuple[int, list[tuple[str, str]], str]:
    """All that tells one answer from another: what is random, and the address itself, taken out."""
    headers = [(name, _without_chance(value)) for name, value in answer.headers if name not in ("Date", "Connection")]
    return answer.status, headers, _without_chance(answer.text.replace(address, "ADDRESS"))


def _without_chance(text: str) -> str:
    text = re.sub(r"state=[^\"&]+", "state=STATE", text)
    text = re.sub(r"(__Host-authd_(?:attempt|pin)_)[0-9a-zA-Z]+", r"\1ID", text)
    text = re.sub(r"(ID(?:_\d)?)=[A-Za-z0-9_-]{100,}", r"\1=SEALED", text)
    return re.sub(r"Expires=[^;]+", "Expires=LATER", text)


def test_somebody_logs_in_with_a_code(stack: Stack, mail_server: MailServer) -> None:
    url = stack.url("grafana.test", "/d/1?x=%26&y=one+two")
    browser, page = ask_for_code(stack, url, "Alice@Example.com")
    assert ALICE in PageOutline(page.text).get_text("main")

    mail = mail_server.find_for(ALICE)
    answer = go_on(browser, send(browser, page, {"code": mail.code}))

    assert answer.status == 200
    seen = answer.json()
    assert seen["target"] == "/d/1?x=%26&y=one+two"
    assert dict(seen["headers"])["Cf-Access-Authenticated-User-Email"] == ALICE
    identity = browser.request(stack.url("grafana.test", "/cdn-cgi/access/get-identity")).json()
    assert identity["idp"] == {"id": "guests", "type": "onetimepin"}
    assert (identity["email"], identity["amr"]) == (ALICE, [])
    assert set(browser.cookies[TEAM]) == {"__Host-authd_team", "__Host-authd_known"}


def test_the_mail_says_what_it_is_for_in_two_ways(stack: Stack, mail_server: MailServer) -> None:
    ask_for_code(stack, stack.url("grafana.test"), ALICE)

    mail = mail_server.find_for(ALICE)

    assert mail.is_encrypted
    assert mail.is_authenticated
    assert mail.sender == "login@example.com"
    assert mail.message["From"] == "Example login <login@example.com>"
    assert mail.message["To"] == ALICE
    assert mail.message["Subject"] == "Your login code"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["Message-ID"].endswith(f"@{TEAM}>")
    for text in (mail.plain, mail.html):
        for part in (mail.code, "Grafana", "grafana.test", "127.0.0.1", "10 minutes", stack.url(TEAM, "")):
            assert part in text
    assert urlsplit(mail.link).path == "/cdn-cgi/access/verify-code"
    assert mail.code not in mail.link


def test_one_login_opens_another_application(stack: Stack, mail_server: MailServer) -> None:
    browser, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    go_on(browser, send(browser, page, {"code": mail_server.find_for(ALICE).code}))

    assert browser.visit(stack.url("wiki.other.example", "/x")).json()["target"] == "/x"


def test_the_link_logs_in_after_a_confirmation_and_only_then(stack: Stack, mail_server: MailServer) -> None:
    browser, _ = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    link = mail_server.find_for(ALICE).link

    pages = [browser.request(link, method=method) for method in ("HEAD", "GET", "GET")]

    assert [page.status for page in pages] == [200, 200, 200]
    assert f"as {ALICE}?" in PageOutline(pages[-1].text).get_text("main")
    key = PageOutline(pages[-1].text).get("input")["value"]
    answer = go_on(browser, send(browser, pages[-1], {"key": str(key)}))
    assert answer.json()["application"] is True


def test_the_link_on_another_device_shows_only_what_to_do(stack: Stack, mail_server: MailServer) -> None:
    asked, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    mail = mail_server.find_for(ALICE)
    other = stack.browser()

    seen = other.request(mail.link)

    outline = PageOutline(seen.text)
    assert outline.get_text("h1") == "This browser did not ask for a code"
    assert not outline.all("form")
    assert mail.code not in seen.text
    assert ALICE not in seen.text
    assert seen.get_all("Set-Cookie") == []
    query = parse_qs(urlsplit(mail.link).query)
    form = {"key": query["key"][0], "code": mail.code}
    forged = other.request(mail.link, method="POST", headers=OWN_FORM, form=form)
    assert forged.status == 400
    assert "__Host-authd_team" not in other.cookies.get(TEAM, {})
    assert go_on(asked, send(asked, page, {"code": mail.code})).json()["application"] is True


def test_a_wrong_code_may_be_corrected_five_times_in_all(stack: Stack, mail_server: MailServer) -> None:
    browser, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    code = mail_server.find_for(ALICE).code

    answers = [send(browser, page, {"code": wrong_code(code)}) for _ in range(5)]

    assert {answer.status for answer in answers} == {400}
    assert "wrong" in PageOutline(answers[0].text).get_text("main")
    late = send(browser, page, {"code": code})
    assert late.status == 429
    mail_server.mails.clear()
    again = send(browser, late, {})
    assert again.status == 200
    answer = go_on(browser, send(browser, again, {"code": mail_server.find_for(ALICE).code}))
    assert answer.json()["application"] is True


def test_a_used_code_is_worth_nothing_to_who_kept_the_cookies(stack: Stack, mail_server: MailServer) -> None:
    browser, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    thief = Browser(stack.port, {host: dict(jar) for host, jar in browser.cookies.items()})
    code = mail_server.find_for(ALICE).code
    go_on(browser, send(browser, page, {"code": code}))

    assert send(thief, page, {"code": code}).status == 400


def test_nobody_learns_from_the_answers_who_has_access(stack: Stack, mail_server: MailServer) -> None:
    shapes = []
    for address in (ALICE, STRANGER):
        browser, page = go_to_address_page(stack, stack.url("grafana.test"))
        browser.history.clear()
        page = send(browser, page, {"email": address})
        wrong = [send(browser, page, {"code": "12"}) for _ in range(6)]
        assert [answer.status for answer in wrong] == [400] * 5 + [429]
        again = send(browser, wrong[-1], {})
        assert again.status == 200
        shapes.append([shape_of(answer, address) for answer in browser.history])

    assert len(shapes[0]) == 10
    assert shapes[0] == shapes[1]
    wait_until(lambda: len(mail_server.mails) == 2, "both mails of alice")
    assert {mail.recipients for mail in mail_server.mails} == {(ALICE,)}


def test_nobody_learns_it_from_how_long_an_answer_takes(stack: Stack, mail_server: MailServer) -> None:
    """Handing a mail over takes tens of milliseconds, and would show."""
    took: dict[str, list[float]] = {ALICE: [], STRANGER: []}
    browser, page = go_to_address_page(stack, stack.url("grafana.test"))
    for _ in range(30):
        for address, times in took.items():
            began = time.perf_counter()
            page = send(browser, page, {"email": address})
            times.append(time.perf_counter() - began)
            page = browser.request(f"{page.url}&again=1")

    with_access, without = (statistics.median(times) for times in took.values())
    # On a busy machine everything takes longer, handing over a mail as well.
    assert abs(with_access - without) < max(0.005, 0.25 * without)
    wait_until(lambda: len(mail_server.mails) == 30, "all of alice's mails")


@pytest.mark.parametrize(
    "address",
    [
        "alice@example.com\r\nBcc: stranger@elsewhere.example",
        "alice@example.com\nSubject: another",
        "alice@example.com,stranger@elsewhere.example",
        "alice@example.com> SIZE=1\r\nRCPT TO:<stranger@elsewhere.example",
        "stranger%elsewhere.example@example.com",
        "alice+1@example.com",
        "x" * 60_000 + "@example.com",
    ],
)
def test_an_address_that_is_more_than_an_address_is_refused(
    stack: Stack, mail_server: MailServer, address: str
) -> None:
    browser, page = go_to_address_page(stack, stack.url("grafana.test"))

    answer = send(browser, page, {"email": address})

    assert answer.status == 400
    assert "no e-mail address" in PageOutline(answer.text).get_text("main")
    ask_for_code(stack, stack.url("grafana.test"), ALICE)
    mail_server.find_for(ALICE)
    assert [mail.recipients for mail in mail_server.mails] == [(ALICE,)]


def test_an_international_address_gets_its_mail(stack: Stack, mail_server: MailServer) -> None:
    browser, page = ask_for_code(stack, stack.url("wiki.other.example"), "žofie@Exämple.org")

    mail = mail_server.find_for("žofie@xn--exmple-cua.org")
    answer = go_on(browser, send(browser, page, {"code": mail.code}))

    headers = dict(answer.json()["headers"])
    assert headers["Cf-Access-Authenticated-User-Email"] == "%C5%BEofie@xn--exmple-cua.org"


def test_a_form_of_another_site_does_nothing(stack: Stack, mail_server: MailServer) -> None:
    browser, page = go_to_address_page(stack, stack.url("grafana.test"))
    answer = send(browser, page, {"email": ALICE}, headers=FOREIGN_FORM)
    assert PageOutline(answer.text).get("input")["name"] == "email"

    page = send(browser, page, {"email": ALICE})
    code = mail_server.find_for(ALICE).code
    answer = send(browser, page, {"code": code}, headers=FOREIGN_FORM)

    assert PageOutline(answer.text).get("input")["name"] == "code"
    assert "__Host-authd_team" not in browser.cookies[TEAM]
    assert len(mail_server.mails) == 1


def test_a_form_without_any_cookie_does_nothing(stack: Stack, mail_server: MailServer) -> None:
    _, page = go_to_address_page(stack, stack.url("grafana.test"))

    for fields in ({"email": ALICE}, {"code": "123456"}, {}):
        answer = send(stack.browser(), page, fields)
        assert answer.status == 400
        assert answer.get_all("Set-Cookie") == []
    resend = page.url.replace("verify-code", "resend-code")
    assert stack.browser().request(resend, method="POST", headers=OWN_FORM, form={}).status == 400
    assert mail_server.mails == []


def test_a_body_that_is_too_large_is_refused_by_nginx(stack: Stack) -> None:
    browser, page = go_to_address_page(stack, stack.url("grafana.test"))

    assert send(browser, page, {"email": "x" * 70_000}).status == 413


def test_many_who_guess_at_once_have_five_guesses(stack: Stack, mail_server: MailServer) -> None:
    """Through both workers; the right code among the rest of the tries is refused too."""
    browser, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    code = mail_server.find_for(ALICE).code

    def guess(number: int) -> int:
        copy = Browser(stack.port, {host: dict(jar) for host, jar in browser.cookies.items()})
        return send(copy, page, {"code": wrong_code(code)}).status

    with ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(guess, range(36)))

    assert (statuses.count(400), statuses.count(429)) == (5, 31)
    assert send(browser, page, {"code": code}).status == 429


def test_of_those_who_know_the_code_at_once_one_gets_in(stack: Stack, mail_server: MailServer) -> None:
    browser, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    code = mail_server.find_for(ALICE).code

    def log_in(number: int) -> bool:
        copy = Browser(stack.port, {host: dict(jar) for host, jar in browser.cookies.items()})
        send(copy, page, {"code": code})
        return "__Host-authd_team" in copy.cookies[TEAM]

    with ThreadPoolExecutor(5) as threads:
        logged_in = list(threads.map(log_in, range(5)))

    assert logged_in.count(True) == 1


def test_a_mail_server_that_refuses_is_told_to_the_operator_alone(stack: Stack, mail_server: MailServer) -> None:
    mail_server.refusals.append("550 no such user")
    before = len(stack.events("pin.mail_failed"))

    _, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)

    assert "under way" in PageOutline(page.text).get_text("main")
    wait_until(lambda: len(stack.events("pin.mail_failed")) > before, "the failure in the log")
    event = stack.events("pin.mail_failed")[-1]
    assert (event["level"], event["cause"], event["idp"], event["email"]) == ("error", "recipient", "guests", ALICE)
    metrics = stack.fetch_authd("/metrics")[1].decode()
    assert 'authd_code_mails_total{idp="guests",outcome="failed"} 1.0' in metrics


def test_nothing_secret_stands_in_the_log(stack: Stack, mail_server: MailServer) -> None:
    browser, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
    mail = mail_server.find_for(ALICE)
    send(browser, page, {"code": wrong_code(mail.code)})
    sealed = [value for jar in browser.cookies.values() for value in jar.values()]
    go_on(browser, send(browser, page, {"code": mail.code}))

    wait_until(lambda: stack.events("login.success"), "the login in the log")
    query = parse_qs(urlsplit(mail.link).query)
    secrets = [f'"{mail.code}"', *query["key"], *query["state"], *sealed, PASSWORD]
    assert len(secrets) > 5
    assert [secret for secret in secrets if secret in stack.log_text] == []
    assert stack.events("pin.mail_sent")[-1]["email"] == ALICE


def test_who_asks_too_often_is_told_to_wait(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("limits")
    with start_stack_with_codes(directory, limits={"per_email": 3, "per_address": 10}) as (stack, mail_server):
        browser, page = go_to_address_page(stack, stack.url("grafana.test"))

        statuses = [send(browser, page, {"email": ALICE}).status for _ in range(12)]

        assert statuses == [200] * 10 + [429] * 2
        wait_until(lambda: len(stack.events("pin.not_sent")) == 7, "all that were asked for")
        assert len(mail_server.mails) == 3
        assert {event["reason"] for event in stack.events("pin.not_sent")} == {"code_email"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_loses_no_mail(tmp_path_factory: pytest.TempPathFactory, number: int) -> None:
    """The mail server does not take it at first, and authd ends meanwhile."""
    with start_stack_with_codes(tmp_path_factory.mktemp("restart")) as (stack, mail_server):
        mail_server.refusals.append("451 later")
        browser, page = ask_for_code(stack, stack.url("grafana.test"), ALICE)
        wait_until(lambda: stack.events("pin.mail_delayed"), "the first try")

        stack.stop_authd(number)
        assert mail_server.mails == []
        stack.start_authd()

        mail_server.wait_for(1, seconds=60)
        assert go_on(browser, send(browser, page, {"code": mail_server.mails[0].code})).status == 200
        assert len(mail_server.mails) == 1


def test_what_was_asked_for_just_before_a_stop_goes_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    with start_stack_with_codes(tmp_path_factory.mktemp("stop")) as (stack, mail_server):
        ask_for_code(stack, stack.url("grafana.test"), ALICE)
        stack.stop_authd()

        assert len(mail_server.mails) == 1
