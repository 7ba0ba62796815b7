"""Five tabs log in at once, and all of them arrive: no attempt may tread on another."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from tests.harness.stack import Stack
from tests.stories.tabs import Tab, ask_all_at_once, open_tabs

COUNT = 5


def urls_of(stack: Stack, kind: str) -> list[str]:
    paths = ["/same?x=%26"] * COUNT if kind == "one address" else [f"/tab/{n}?x=%26{n}" for n in range(COUNT)]
    hosts = ["grafana.test", "wiki.other.example"] if kind == "several hosts" else ["grafana.test"]
    return [stack.url(hosts[n % len(hosts)], path) for n, path in enumerate(paths)]


def one_after_the_other(tabs: list[Tab]) -> None:
    for tab in tabs:
        tab.finish()


def in_step(tabs: list[Tab]) -> None:
    while not all(tab.is_done for tab in tabs):
        for tab in tabs:
            tab.step()


def backwards_in_step(tabs: list[Tab]) -> None:
    in_step(tabs[::-1])


def all_challenged_then_the_last_first(tabs: list[Tab]) -> None:
    for tab in tabs:
        tab.step()
    one_after_the_other(tabs[::-1])


def all_at_the_provider_then_the_last_first(tabs: list[Tab]) -> None:
    for tab in tabs * 2:
        tab.step()
    one_after_the_other(tabs[::-1])


def all_back_from_the_provider_then_the_middle_first(tabs: list[Tab]) -> None:
    for tab in tabs * 3:
        tab.step()
    one_after_the_other([tabs[n] for n in (2, 4, 0, 3, 1)])


def all_with_a_code_then_the_last_first(tabs: list[Tab]) -> None:
    for tab in tabs * 4:
        tab.step()
    one_after_the_other(tabs[::-1])


def asked_at_once(tabs: list[Tab]) -> None:
    ask_all_at_once(tabs)
    in_step(tabs)


def asked_at_once_then_one_after_the_other(tabs: list[Tab]) -> None:
    ask_all_at_once(tabs)
    one_after_the_other(tabs)


ORDERS: list[Callable[[list[Tab]], None]] = [
    one_after_the_other,
    in_step,
    backwards_in_step,
    all_challenged_then_the_last_first,
    all_at_the_provider_then_the_last_first,
    all_back_from_the_provider_then_the_middle_first,
    all_with_a_code_then_the_last_first,
    asked_at_once,
    asked_at_once_then_one_after_the_other,
]


@pytest.mark.parametrize("kind", ["one address", "several addresses", "several hosts"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
def test_five_tabs_all_arrive(stack: Stack, order: Callable[[list[Tab]], None], kind: str) -> None:
    tabs = open_tabs(stack, urls_of(stack, kind))

    order(tabs)

    for tab in tabs:
        tab.check_page()


@pytest.mark.parametrize("seed", range(6))
def test_five_tabs_arrive_in_any_order_of_their_requests(stack: Stack, seed: int) -> None:
    chance = random.Random(seed)
    tabs = open_tabs(stack, urls_of(stack, "several hosts"))

    while waiting := [tab for tab in tabs if not tab.is_done]:
        chance.choice(waiting).step()

    for tab in tabs:
        tab.check_page()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_tabs_that_wait_at_the_provider_may_come_back_in_any_order(stack: Stack, order: tuple[int, ...]) -> None:
    tabs = open_tabs(stack, urls_of(stack, "several addresses")[:3])
    for tab in tabs * 2:
        tab.step()

    for number in order:
        tabs[number].check_page()


def test_tabs_that_are_never_finished_do_not_stop_the_next_one(stack: Stack) -> None:
    """Each attempt is a cookie: without a bound, the forty-first request would be too large for nginx."""
    tabs = open_tabs(stack, [stack.url("grafana.test", f"/{n}?" + "x" * 1500) for n in range(41)])

    for tab in tabs * 2:
        tab.step()

    cookies = tabs[0].browser.cookies["auth.test"]
    assert sum(len(name) + len(value) for name, value in cookies.items()) < 16_000
    tabs[-1].check_page()
