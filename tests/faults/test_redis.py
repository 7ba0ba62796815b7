"""Redis that is gone, slow, full, a replica, or not ours: an error within the deadline, and nobody's else answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from authd.errors import StoreDamagedError, StoreUnavailableError, StoreUnfitError
from authd.state import DEADLINE_SECONDS, Store, open_store
from tests.harness.nginx import find_free_port
from tests.harness.redis import (
    PASSWORD,
    REDIS,
    RedisProcess,
    RedisServers,
    read_documented_user,
    running_redis,
    wait_until,
)

NOW = 4_000_000_000
# The deadline, and what a busy machine takes to notice it.
AT_ONCE_SECONDS = 0.15
IN_TIME_SECONDS = DEADLINE_SECONDS + AT_ONCE_SECONDS


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(servers: RedisServers) -> Iterator[RedisProcess]:
    """The server, empty, and afterwards as it was."""
    (server,) = servers.servers
    server.ask("FLUSHALL")
    yield server
    if server.process is None:
        server.start()
    server.ask("CLIENT", "UNPAUSE")
    server.ask("REPLICAOF", "NO", "ONE")
    server.ask("CONFIG", "SET", "maxmemory", "0")
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.fixture
async def store(redis: RedisProcess) -> AsyncIterator[Store]:
    opened = open_store(redis.url)
    await eventually(lambda: opened.put("session", "a", b"1", expires_at=NOW + 10))
    yield opened
    await opened.close()


async def fail(store: Store) -> tuple[float, str]:
    """How long a look-up took to fail, and what it said."""
    started = time.perf_counter()
    with pytest.raises(StoreUnavailableError) as caught:
        await store.find("session", "a", now=NOW)
    return time.perf_counter() - started, str(caught.value)


async def eventually(action: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    """Try until it does not fail any more."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await action()
        except StoreUnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_a_server_that_is_gone_is_told_at_once_and_found_again(redis: RedisProcess, store: Store) -> None:
    redis.stop()
    for _ in range(10):
        seconds, message = await fail(store)
        assert seconds < AT_ONCE_SECONDS
        assert f"127.0.0.1:{redis.port}" in message
    redis.start()
    assert await eventually(lambda: store.find("session", "a", now=NOW), 3) is None


async def test_a_server_that_is_slow_costs_each_caller_the_deadline_and_then_nothing(
    redis: RedisProcess, store: Store
) -> None:
    redis.ask("CLIENT", "PAUSE", 2000, "ALL")
    took = [(await fail(store))[0] for _ in range(8)]
    assert max(took) < IN_TIME_SECONDS
    assert sorted(took)[4] < 0.01, "after three silences only one call a second is tried"
    assert await eventually(lambda: store.find("session", "a", now=NOW), 5) == b"1"


async def test_two_hundred_callers_of_a_silent_server_wait_together(redis: RedisProcess, store: Store) -> None:
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)
    started = time.perf_counter()
    outcomes = await asyncio.gather(*(store.find("session", "a", now=NOW) for _ in range(200)), return_exceptions=True)
    assert time.perf_counter() - started < IN_TIME_SECONDS + 0.2
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    redis.process.send_signal(signal.SIGCONT)
    assert await eventually(lambda: store.find("session", "a", now=NOW), 5) == b"1"


async def test_a_cancelled_call_never_leaves_its_answer_to_the_next(redis: RedisProcess, store: Store) -> None:
    """CVE-2023-28858: with redis-py before 4.5.4 the next caller got the cancelled one's session."""
    for n in range(200):
        await store.put("session", f"s{n}", str(n).encode(), expires_at=NOW + 10)

    async def look_up(n: int) -> None:
        assert await store.find("session", f"s{n}", now=NOW) == str(n).encode()

    for n in range(200):
        cancelled = asyncio.create_task(look_up(n))
        # At another point of the call each time: before the connection, while writing, while reading.
        for _ in range(n % 9):
            await asyncio.sleep(0)
        cancelled.cancel()
        await look_up((n + 1) % 200)
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled


async def test_a_late_answer_goes_to_nobody(redis: RedisProcess, store: Store) -> None:
    """The reply of a call that was given up arrives when the pause ends, on a connection that is closed by then."""
    await store.put("session", "b", b"2", expires_at=NOW + 10)
    redis.ask("CLIENT", "PAUSE", 400, "ALL")
    assert (await fail(store))[0] < IN_TIME_SECONDS
    assert await eventually(lambda: store.find("session", "b", now=NOW)) == b"2"
    assert await store.find("session", "a", now=NOW) == b"1"


async def test_a_connection_that_the_server_closed_is_not_used_again(redis: RedisProcess, store: Store) -> None:
    await asyncio.gather(*(store.find("session", "a", now=NOW) for _ in range(10)))
    redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0)  # the end of a connection is heard between two steps of the loop
    found = await asyncio.gather(*(store.find("session", "a", now=NOW) for _ in range(10)))
    assert found == [b"1"] * 10


async def test_a_replica_is_not_written_to_and_not_followed(redis: RedisProcess, store: Store) -> None:
    redis.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailableError, match="read only replica"):
        await store.end("session", "a", now=NOW, remembered_until=NOW + 10)
    with pytest.raises(StoreUnavailableError, match="is a replica"):
        await store.tombstones_since(0)
    redis.ask("REPLICAOF", "NO", "ONE")
    assert await eventually(lambda: store.find("session", "a", now=NOW), 5) == b"1"
    assert await store.tombstones_since(0) == []


async def test_demotion_is_noticed_by_those_who_only_follow(redis: RedisProcess, store: Store) -> None:
    assert await store.tombstones_since(0) == []
    redis.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailableError, match="is a replica now"):
        await store.tombstones_since(0)


async def test_out_of_memory_refuses_writes_whole_and_answers_reads(redis: RedisProcess, store: Store) -> None:
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailableError, match="maxmemory"):
        await store.put("session", "b", b"2", expires_at=NOW + 10)
    with pytest.raises(StoreUnavailableError, match="maxmemory"):
        await store.end("session", "a", now=NOW, remembered_until=NOW + 10)
    for _ in range(5):
        assert await store.find("session", "a", now=NOW) == b"1", "an end that failed has ended nothing"
    assert await store.tombstones_since(0) == []


async def test_a_write_that_no_replica_has_is_not_acknowledged(redis: RedisProcess) -> None:
    store = open_store(f"{redis.url}?replicas=1")
    with pytest.raises(StoreUnavailableError, match="0 of 1 replicas acknowledged"):
        await store.put("session", "b", b"2", expires_at=NOW + 10)
    await store.close()


async def test_what_others_wrote_is_nothing_that_opens(redis: RedisProcess, store: Store) -> None:
    redis.ask("RPUSH", "{authd}:v:session:list", "x")
    redis.ask("SET", "{authd}:v:session:text", "somebody else's")
    redis.ask("SET", "{authd}:v:session:number", "17")
    for id_ in ("list", "text", "number"):
        assert await store.find("session", id_, now=NOW) == b"", "no seal fits an empty value"
    assert await store.take("session", "list", now=NOW) == b""
    assert await store.take("session", "text", now=NOW) == b""
    assert await store.put_if_absent("session", "number", b"", now=NOW, expires_at=NOW + 9) is False
    redis.ask("SET", "{authd}:c:login:a", "nonsense")
    assert await store.count("login", "a", now=NOW, window_seconds=60) == 1
    redis.ask("SET", "{authd}:tombstones", "x")
    with pytest.raises(StoreDamagedError):
        await store.tombstones_since(0)
    with pytest.raises(StoreDamagedError):
        await store.end("session", "a", now=NOW, remembered_until=NOW + 10)
    assert await store.find("session", "a", now=NOW) == b"1"


async def test_values_and_counters_leave_redis_by_themselves(redis: RedisProcess) -> None:
    """Ten minutes later than by our clock, so that a server whose clock is ahead logs nobody out."""
    store = open_store(redis.url)
    now = int(time.time())
    await store.put("session", "a", b"1", expires_at=now + 100)
    assert await store.put_if_absent("code", "a", b"1", now=now, expires_at=now + 100)
    await store.count("login", "a", now=now, window_seconds=100)
    await store.count("login", "a", now=now, window_seconds=100)
    for key in ("v:session:a", "v:code:a", "c:login:a"):
        assert redis.ask("EXPIRETIME", f"{{authd}}:{key}") == now + 700
    await store.put("keyring", "a", b"1", expires_at=2**53)
    assert redis.ask("TTL", "{authd}:v:keyring:a") == -1
    await store.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_evict_is_refused(redis: RedisProcess, store: Store, policy: str) -> None:
    redis.ask("CONFIG", "SET", "maxmemory-policy", policy)
    with pytest.raises(StoreUnfitError, match=f"maxmemory-policy is {policy}.*set it to noeviction"):
        await store.check()


async def test_a_server_without_a_log_is_warned_of(redis: RedisProcess, store: Store) -> None:
    (warning,) = await store.check()
    assert "appendonly is off" in warning
    redis.ask("CONFIG", "SET", "appendonly", "yes")
    wait_until(lambda: redis.ask("INFO", "persistence")["aof_enabled"] == 1)
    assert await store.check() == []
    redis.ask("CONFIG", "SET", "appendonly", "no")


async def test_a_server_with_the_users_of_the_role_remembers_everything_after_its_death(tmp_path: Path) -> None:
    """Redis 7.0 replays what scripts wrote as its user `default`, who is off, and leaves out what it may not do."""
    users = tmp_path / "users"
    first_line = (Path(__file__).parents[2] / "ansible/roles/redis/templates/authd.acl.j2").read_text().splitlines()[0]
    users.write_text(f"{first_line}\nuser {' '.join(read_documented_user())}\n")
    options = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--aclfile", str(users))
    server = RedisProcess(tmp_path / "data", find_free_port(), (*REDIS, *options))
    server.start()
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    store = open_store(f"redis://authd@127.0.0.1:{server.port}?password_file={tmp_path / 'password'}&replicas=0")
    try:
        await store.put("session", "a", b"1", expires_at=NOW + 10, owner="alice")
        await store.end("session", "b", now=NOW, remembered_until=NOW + 10)
        server.stop()
        server.start()
        assert await eventually(lambda: store.find("session", "a", now=NOW)) == b"1"
        assert [each.id for each in await store.tombstones_since(0)] == ["b"]
    finally:
        await store.close()
        server.stop()


async def test_an_address_that_swallows_everything_costs_the_deadline() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        store = open_store(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        assert (await fail(store))[0] < IN_TIME_SECONDS
        await store.close()


async def test_a_password_file_that_is_missing_is_named(redis: RedisProcess, tmp_path: Path) -> None:
    path = tmp_path / "redis.password"
    store = open_store(f"{redis.url}?password_file={path}")
    assert str(path) in (await fail(store))[1]
    await store.close()
