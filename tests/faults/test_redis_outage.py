"""Redis fails behind a whole installation: who is in stays in for `store_outage_grace`, nobody else gets in, one line
in the log tells it, and it ends by itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from tests.harness.browser import Browser
from tests.harness.redis import RedisProcess, running_redis
from tests.harness.stack import Stack, start_stack
from tests.stories.waiting import wait_until

GRACE_SECONDS = 5
SLOWEST_SECONDS = 0.25
WATCHED_SECONDS = 1.2


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with running_redis(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as running:
        yield running.servers[0]


@pytest.fixture(scope="module")
def stack(redis: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # No decision is reused: each request asks authd.
    settings = {"state": redis.url, "store_outage_grace": f"{GRACE_SECONDS}s", "decision_cache_seconds": 0}
    with start_stack(tmp_path_factory.mktemp("stack"), settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Browser:
    return stack.log_in(stack.url("grafana.test"), "alice")


def kill(redis: RedisProcess) -> Callable[[], object]:
    redis.stop()
    return redis.start


def slow(redis: RedisProcess) -> Callable[[], object]:
    redis.ask("CLIENT", "PAUSE", 2000, "ALL")
    return lambda: None


def demote(redis: RedisProcess) -> Callable[[], object]:
    redis.ask("REPLICAOF", "127.0.0.1", "1")
    return lambda: redis.ask("REPLICAOF", "NO", "ONE")


def fill(redis: RedisProcess) -> Callable[[], object]:
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    return lambda: redis.ask("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def fault(redis: RedisProcess, begin: Callable[[RedisProcess], Callable[[], object]]) -> Iterator[None]:
    end = begin(redis)
    try:
        yield
    finally:
        end()


def watch(stack: Stack, alice: Browser) -> list[float]:
    """Alice works and others try, for a while: how long each of her requests took."""
    took = []
    stranger = stack.browser()
    until = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < until:
        started = time.perf_counter()
        assert alice.request(stack.url("grafana.test")).status == 200
        took.append(time.perf_counter() - started)
        assert stranger.request(stack.url("grafana.test")).status != 200
    return took


def log_in_fails(stack: Stack) -> None:
    before = len(stack.application.seen)
    answer = stack.try_log_in(stack.url("grafana.test"), "alice", stack.browser())
    assert answer.status == 503, (answer.url, answer.status)
    assert len(stack.application.seen) == before


def is_up(stack: Stack) -> bool:
    return stack.ask_authd("/readyz") == 200 and len(stack.events("store.up")) == len(stack.events("store.down"))


@pytest.mark.parametrize(
    ("begin", "cause"), [(slow, "no answer"), (demote, "replica"), (fill, "maxmemory"), (kill, "127.0.0.1")]
)
def test_who_is_in_stays_in_and_nobody_else_gets_in(
    stack: Stack, alice: Browser, redis: RedisProcess, begin: Callable[[RedisProcess], Callable[[], object]], cause: str
) -> None:
    assert stack.log_in(stack.url("grafana.test"), "alice"), "all is well before"
    told = len(stack.events("store.down"))
    with fault(redis, begin):
        log_in_fails(stack)
        took = watch(stack, alice)
    wait_until(lambda: is_up(stack), "the store is up again")
    assert stack.log_in(stack.url("grafana.test"), "alice"), "all is well again"
    assert alice.request(stack.url("grafana.test")).status == 200, "nobody was logged out"
    took.sort()
    assert took[int(len(took) * 0.99)] < SLOWEST_SECONDS
    (line,) = stack.events("store.down")[told:]
    assert cause in line["message"]


def test_after_the_grace_nobody_is_let_in_and_nobody_is_logged_out(
    stack: Stack, alice: Browser, redis: RedisProcess
) -> None:
    cookies = {host: dict(jar) for host, jar in alice.cookies.items()}
    with fault(redis, kill):
        started = time.monotonic()
        wait_until(lambda: alice.request(stack.url("grafana.test")).status != 200, "the grace is over")
        assert GRACE_SECONDS - 1 < time.monotonic() - started < GRACE_SECONDS + 3
        answer = alice.request(stack.url("grafana.test"))
        assert answer.status == 503
        assert answer.get_all("Set-Cookie") == []
    wait_until(lambda: alice.request(stack.url("grafana.test")).status == 200, "she is in again")
    assert alice.cookies == cookies


def test_no_line_of_the_log_holds_a_secret(stack: Stack, alice: Browser) -> None:
    values = [value for jar in alice.cookies.values() for value in jar.values()]
    assert values
    assert [value for value in values if value in stack.log_text] == []
    assert stack.events("error.unhandled") == []
