"""Transport to authd: keepalive, workers that die, workers that hang (reference/nginx-contract.md, section 3)."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Message, Reply
from tests.harness.standin import IDENTITY

pytestmark = pytest.mark.nginx

HTTP = render_server("app.example.com", f"location / {{ set $authd_app app; {PROTECTED} }}")
ALLOWED = Reply(200, IDENTITY)
IN_FLIGHT = 24


def test_3_1_requests_share_connections_to_authd(site: Site) -> None:
    before = site.authd.connection_count
    for _ in range(20):
        assert site.get("app.example.com", "/x", session="good").status == 200
    assert site.authd.connection_count - before <= 1
    assert {request.get("Connection") for request in site.authd.seen} == {None}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_3_2_no_request_in_flight_is_lost_when_its_worker_dies(site: Site, method: str) -> None:
    all_arrived = threading.Barrier(IN_FLIGHT + 1)
    first = threading.Semaphore(IN_FLIGHT)

    def check(request: Message) -> Reply:
        if first.acquire(blocking=False):
            all_arrived.wait(5)
            return Reply(drop=True)
        return ALLOWED

    site.authd.program(check=check)
    with ThreadPoolExecutor(IN_FLIGHT) as visitors:
        body = b"form" if method == "POST" else None
        answers = [
            visitors.submit(site.get, "app.example.com", f"/{number}", session="good", method=method, body=body)
            for number in range(IN_FLIGHT)
        ]
        all_arrived.wait(5)
        site.authd.cut_connections()
    assert [answer.result().status for answer in answers] == [200] * IN_FLIGHT


def test_3_2_dead_idle_connections_cost_nobody_anything(site: Site) -> None:
    """All sixteen connections that nginx keeps are dead when the next sixteen requests come at once."""
    for _ in range(5):
        site.authd.program(check=Reply(200, IDENTITY, delay_seconds=0.02))
        with ThreadPoolExecutor(16) as visitors:
            statuses = list(visitors.map(lambda _: site.get("app.example.com", "/", session="good").status, range(16)))
            site.authd.cut_connections()
            statuses += visitors.map(lambda _: site.get("app.example.com", "/", session="good").status, range(16))
        assert statuses == [200] * 32


def test_3_2_a_request_that_kills_the_worker_is_given_up_soon(site: Site) -> None:
    """A drop on a connection that was idle does not count as a try; but with its worker, all of them are dead."""

    def die(request: Message) -> Reply:
        site.authd.cut_connections()
        return Reply(drop=True)

    for _ in range(3):
        site.authd.program(check=Reply(200, IDENTITY, delay_seconds=0.02))
        with ThreadPoolExecutor(16) as visitors:
            list(visitors.map(lambda _: site.get("app.example.com", "/", session="good"), range(16)))
        site.forget()
        site.authd.program(check=die)
        assert site.get("app.example.com", "/", session="good").status == 503
        # 3 in theory; the connections of a process do not all end in one instant. Never all eighteen names.
        assert 1 <= len(site.authd.checks) <= 8
        assert site.application.count == 0


def test_3_4_a_worker_that_hangs_costs_two_seconds_and_an_authd_that_hangs_five(site: Site) -> None:
    hung = threading.Event()

    def check(request: Message) -> Reply:
        target = request.get("X-Original-Path")
        if target == "/all-hang" or not hung.is_set():
            hung.set()
            return Reply(200, IDENTITY, delay_seconds=7)
        return ALLOWED

    site.authd.program(check=check)

    def ask(target: str) -> tuple[int, float]:
        started = time.monotonic()
        return site.get("app.example.com", target, session="good").status, time.monotonic() - started

    with ThreadPoolExecutor(2) as visitors:
        one = visitors.submit(ask, "/one-hangs")
        hung.wait(2)
        every = visitors.submit(ask, "/all-hang")
    assert one.result()[0] == 200
    assert 1.9 < one.result()[1] < 3.5
    assert every.result()[0] == 503
    assert every.result()[1] < 6
    assert site.application.count == 1


def test_3_5_the_challenge_of_a_post_survives_a_dying_worker_too(site: Site) -> None:
    replies = iter([Reply(drop=True), Reply(302, (("Location", "/login"),))])
    site.authd.program(challenge=lambda request: next(replies))
    answer = site.get("app.example.com", "/x", method="POST", body=b"form")
    assert (answer.status, answer.get("Location")) == (302, "/login")


def test_an_endpoint_is_not_sent_twice_when_it_may_have_been_carried_out(site: Site) -> None:
    """A logout by POST is not idempotent for nginx: the visitor presses the button again."""
    site.authd.program(endpoint=Reply(drop=True))
    answer = site.get("app.example.com", "/cdn-cgi/access/logout", method="POST", body=b"")
    assert (answer.status, answer.get("Retry-After")) == (503, "5")
    assert len(site.authd.seen) <= 2  # a connection that was idle may have been dead before it was used
