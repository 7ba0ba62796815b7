"""Too many logins from one address, or of one person, are put off; whoever is in stays in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import Answer
from tests.harness.idp import Person
from tests.harness.stack import Stack, start_stack

PEOPLE = [Person(f"person{n}", {"email": f"person{n}@example.com", "email_verified": True}) for n in range(6)]
PER_ADDRESS, PER_PERSON, WINDOW_SECONDS = 4, 2, 3600


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    limits = {"per_address": PER_ADDRESS, "per_person": PER_PERSON, "window": "1h"}
    directory = tmp_path_factory.mktemp("limits")
    with start_stack(directory, people=PEOPLE, settings={"login_rate_limit": limits}) as running:
        yield running


def try_log_in(stack: Stack, account: str, address: str) -> Answer:
    return stack.try_log_in(stack.url("grafana.test"), account, stack.browser(source_address=address))


def check_put_off(stack: Stack, answer: Answer, address: str) -> None:
    assert answer.status == 429
    assert answer.get("Retry-After") == str(WINDOW_SECONDS)
    assert "Please try again in 60 minutes." in PageOutline(answer.text).get_text("main")
    line = stack.events("login.failed")[-1]
    assert (line["reason"], line["ip"]) == ("too_many_logins", address)


def test_one_address_logs_in_so_often_and_no_more(stack: Stack) -> None:
    address = "127.0.0.2"
    for number in range(PER_ADDRESS):
        assert try_log_in(stack, f"person{number}", address).status == 200

    check_put_off(stack, try_log_in(stack, "person4", address), address)
    assert try_log_in(stack, "person4", "127.0.0.3").status == 200


def test_one_person_logs_in_so_often_and_no_more_wherever_from(stack: Stack) -> None:
    browser = stack.browser(source_address="127.0.0.4")
    for address in ("127.0.0.5", "127.0.0.6"):
        assert try_log_in(stack, "person5", address).status == 200

    answer = stack.try_log_in(stack.url("grafana.test"), "person5", browser)

    check_put_off(stack, answer, "127.0.0.4")
    assert "CF_AUTHORIZATION" not in browser.cookies["grafana.test"]


def test_whoever_is_in_stays_in_and_reaches_other_hosts(stack: Stack) -> None:
    address = "127.0.0.7"
    browser = stack.browser(source_address=address)
    people = iter(["person4", "person3", "person2", "person1"])
    stack.log_in(stack.url("grafana.test"), next(people), browser)
    for account in people:
        try_log_in(stack, account, address)
    assert try_log_in(stack, "person0", address).status == 429

    assert browser.visit(stack.url("grafana.test")).status == 200
    assert browser.visit(stack.url("wiki.other.example")).status == 200


def test_asking_for_a_login_page_is_no_login(stack: Stack) -> None:
    browser = stack.browser(source_address="127.0.0.8")

    locations = [browser.visit(stack.url("grafana.test", f"/{n}")).location for n in range(3 * PER_ADDRESS)]

    assert all(location.startswith(stack.provider.issuer) for location in locations)
