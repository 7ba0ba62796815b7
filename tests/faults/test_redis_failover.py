"""Another server takes over: found within seconds, and no revocation is missed, not even when the newest were lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from authd.errors import StoreUnavailableError
from authd.state import Store, open_store
from authd.state.redis_followers import SETTLING_SECONDS
from tests.faults.test_redis import NOW, eventually
from tests.harness.redis import (
    RedisProcess,
    RedisServers,
    find_owner,
    is_replicated,
    running_cluster,
    running_redis,
    running_sentinels,
    wait_until,
)


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running_sentinels(tmp_path_factory.mktemp("sentinel")) as running:
        yield running


@pytest.fixture
async def store(trio: RedisServers) -> AsyncIterator[Store]:
    opened = open_store(trio.url)
    await eventually(opened.check)
    yield opened
    await opened.close()


async def test_sentinel_and_data_have_users_of_their_own(trio: RedisServers, tmp_path: Path) -> None:
    for server in trio.servers:
        server.ask("ACL", "SETUSER", "authd", "on", ">secret-of-data", "~{authd}:*", "+@all")
    for sentinel in trio.sentinels:
        sentinel.ask("ACL", "SETUSER", "watcher", "on", ">secret-of-sentinel", "+sentinel|get-master-addr-by-name")
    password = tmp_path / "sentinel.password"
    password.write_text("secret-of-sentinel")
    parameters = f"?sentinel_username=watcher&sentinel_password_file={password}"
    store = open_store(trio.url.replace("://", "://authd:secret-of-data@") + parameters)
    await eventually(lambda: store.put("session", "a", b"1", expires_at=NOW + 10))
    assert await store.find("session", "a", now=NOW) == b"1"
    await store.close()


async def test_two_sentinels_of_three_are_enough(trio: RedisServers) -> None:
    dead = trio.sentinels[0]
    assert dead.process is not None
    dead.process.send_signal(signal.SIGSTOP)
    store = open_store(trio.url)
    assert await eventually(lambda: store.find("session", "b", now=NOW)) is None
    dead.process.send_signal(signal.SIGCONT)
    await store.close()


async def test_one_sentinel_that_names_another_master_is_outvoted(trio: RedisServers, tmp_path: Path) -> None:
    """As one does that comes back from behind a cut, together with a master that was replaced meanwhile."""
    behind, service = trio.sentinels[0], "authd-master"
    host, port = behind.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
    with running_redis(tmp_path / "replaced") as single:
        (replaced,) = single.servers
        behind.ask("SENTINEL", "REMOVE", service)
        behind.ask("SENTINEL", "MONITOR", service, "127.0.0.1", str(replaced.port), "2")
        try:
            for number in range(10):
                store = open_store(trio.url)
                await eventually(
                    lambda number=number, store=store: store.put("session", f"v{number}", b"1", expires_at=NOW + 10)
                )
                await store.close()
            assert replaced.ask("DBSIZE") == 0
        finally:
            behind.ask("SENTINEL", "REMOVE", service)
            behind.ask("SENTINEL", "MONITOR", service, host, port, "2")


async def test_a_name_that_sentinel_does_not_know_is_told(trio: RedisServers) -> None:
    store = open_store(trio.url.replace("authd-master", "somebody"))
    with pytest.raises(StoreUnavailableError, match="knows no master somebody"):
        await store.cursor()
    await store.close()


async def test_a_master_that_gave_way_is_left_at_once(trio: RedisServers, store: Store) -> None:
    await store.put("session", "kept", b"1", expires_at=NOW + 10)
    cursor = await store.cursor()
    old = trio.find_master()
    wait_until(lambda: trio.sentinels[0].ask("SENTINEL", "FAILOVER", "authd-master"))
    wait_until(lambda: trio.find_master() is not old)

    async def end() -> None:
        await store.end("session", "kept", now=NOW, remembered_until=NOW + 10)

    await eventually(end)
    assert [each.id for each in await eventually(lambda: store.tombstones_since(cursor))] == ["kept"]
    assert await store.find("session", "kept", now=NOW) is None


@contextlib.asynccontextmanager
async def polled(store: Store) -> AsyncIterator[None]:
    """As each worker does, twice a second."""

    async def poll() -> None:
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await store.tombstones_since(0)
            await asyncio.sleep(0.5)

    polling = asyncio.create_task(poll())
    try:
        yield
    finally:
        polling.cancel()


async def write_for(store: Store, seconds: float) -> dict[str, float]:
    """Write on, whatever happens, and tell what was acknowledged when, in seconds from now."""
    began, acknowledged = time.monotonic(), {}
    while time.monotonic() - began < seconds:
        name = f"w{time.monotonic_ns()}"
        with contextlib.suppress(StoreUnavailableError):
            await store.put("session", name, b"x", expires_at=NOW + 10)
            acknowledged[name] = time.monotonic() - began
        await asyncio.sleep(0.005)
    return acknowledged


async def test_what_is_acknowledged_while_another_takes_over_is_there_afterwards(
    trio: RedisServers, store: Store
) -> None:
    """Asked for, as for maintenance: the master of before takes itself for one for ten seconds more, and the other
    replica acknowledges for a second what only they have."""
    await asyncio.to_thread(wait_until, lambda: is_replicated(trio.find_master()))
    old = trio.find_master()
    async with polled(store):
        writing = asyncio.create_task(write_for(store, 8))
        await asyncio.sleep(1)
        await asyncio.to_thread(wait_until, lambda: trio.sentinels[0].ask("SENTINEL", "FAILOVER", "authd-master"))
        acknowledged = await writing
    assert trio.find_master() is not old
    assert min(acknowledged.values()) < 1
    assert max(acknowledged.values()) > 7, "it is found while the one of before still answers"
    afterwards = open_store(trio.url)
    found = await eventually(lambda: afterwards.find_many("session", list(acknowledged), now=NOW))
    await afterwards.close()
    assert {name: when for name, when in acknowledged.items() if name not in found} == {}


@contextlib.asynccontextmanager
async def without(replica: RedisProcess) -> AsyncIterator[float]:
    """While it is away; since when, by the monotonic clock. The tests after this one have it again."""
    replica.stop()
    try:
        yield time.monotonic()
    finally:
        replica.start()


async def test_a_replica_that_leaves_costs_three_seconds_of_writes(trio: RedisServers, store: Store) -> None:
    """Whether it goes away or is about to take over cannot be known at first."""
    await asyncio.to_thread(wait_until, lambda: is_replicated(trio.find_master()))
    master = trio.find_master()
    replica = next(server for server in trio.servers if server is not master)
    await eventually(lambda: store.put("session", "before", b"x", expires_at=NOW + 10))
    told = []
    async with polled(store), without(replica) as left_at:
        while time.monotonic() - left_at < SETTLING_SECONDS - 0.5:
            await asyncio.sleep(0.05)
            try:
                await store.put("session", "while", b"x", expires_at=NOW + 10)
            except StoreUnavailableError as error:
                told.append(str(error))
        assert len(told) > 10
        assert "a replica has just left the master" in told[-1]
        assert await store.find("session", "before", now=NOW) == b"x"
        await eventually(lambda: store.put("session", "after", b"x", expires_at=NOW + 10))
        assert time.monotonic() - left_at < 2 * SETTLING_SECONDS
        assert trio.find_master() is master


@pytest.mark.elections
async def test_what_was_acknowledged_survives_the_death_of_the_master(trio: RedisServers, store: Store) -> None:
    """Killed in the middle of writes: each one that returned is there afterwards."""
    acknowledged: list[int] = []

    async def write_on(first: int) -> None:
        for n in range(first, 1_000_000, 10):
            await store.put("session", str(n), b"x", expires_at=NOW + 10)
            acknowledged.append(n)

    # The two others have just got another master.
    wait_until(lambda: is_replicated(trio.find_master()))
    old = trio.find_master()
    await eventually(store.check)
    writing = [asyncio.create_task(write_on(first)) for first in range(10)]
    while len(acknowledged) < 50 and not all(task.done() for task in writing):
        await asyncio.sleep(0)
    assert len(acknowledged) >= 50
    old.stop(signal.SIGKILL)
    ends = await asyncio.gather(*writing, return_exceptions=True)
    assert {type(each) for each in ends} == {StoreUnavailableError}
    # How long the Sentinels need is theirs; from then on it is ours.
    await asyncio.to_thread(wait_until, lambda: trio.find_master() is not old, 40)
    started = time.monotonic()
    await eventually(lambda: store.find("session", "0", now=NOW))
    assert time.monotonic() - started < 5
    await eventually(lambda: store.put("session", "new", b"x", expires_at=NOW + 10), 40)
    for n in acknowledged:
        assert await store.find("session", str(n), now=NOW) == b"x"


@pytest.fixture
async def two_histories(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RedisServers, Store]]:
    with running_redis(tmp_path_factory.mktemp("history")) as running:
        opened = open_store(running.url)
        yield running, opened
        await opened.close()


async def test_no_revocation_is_skipped_by_one_that_lost_the_newest(two_histories: tuple[RedisServers, Store]) -> None:
    """The server that takes over lacks tombstones, and its clock is an hour behind: it gives old numbers out again."""
    running, store = two_histories
    (server,) = running.servers
    assert await store.cursor() == 0
    ahead = int((time.time() + 3600) * 1_000_000)
    server.ask("SET", "{authd}:sequence", ahead)
    await store.end("session", "before", now=NOW, remembered_until=NOW + 10)
    (seen,) = await store.tombstones_since(0)
    assert seen.sequence == ahead + 1

    server.stop()
    server.start()
    await eventually(lambda: store.tombstones_since(seen.sequence))
    await store.end("session", "after", now=NOW, remembered_until=NOW + 10)
    # Beyond the cursor before anybody has looked.
    server.ask("SET", "{authd}:sequence", seen.sequence + 100)
    await store.end("session", "later", now=NOW, remembered_until=NOW + 10)
    found = await store.tombstones_since(seen.sequence)
    assert [each.id for each in found] == ["after", "later"]
    assert await store.tombstones_since(found[-1].sequence) == []


async def test_a_restart_that_nobody_noticed_is_noticed(two_histories: tuple[RedisServers, Store]) -> None:
    running, store = two_histories
    (server,) = running.servers
    await store.end("session", "before", now=NOW, remembered_until=NOW + 10)
    (seen,) = await store.tombstones_since(0)
    server.stop()
    server.start()
    other = open_store(running.url)
    server.ask("SET", "{authd}:sequence", seen.sequence - 10_000_000_000)
    await other.end("session", "after", now=NOW, remembered_until=NOW + 10)
    server.ask("SET", "{authd}:sequence", seen.sequence + 10_000_000_000)
    await other.end("session", "later", now=NOW, remembered_until=NOW + 10)
    found = await eventually(lambda: store.tombstones_since(seen.sequence))
    assert [each.id for each in found] == ["after", "later"]
    await other.close()


async def test_a_slot_that_moved_to_another_node_is_followed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        store = open_store(cluster.url)
        assert await store.find("session", "a", now=NOW) is None
        slot = cluster.servers[0].ask("CLUSTER", "KEYSLOT", "{authd}")
        owner = find_owner(cluster)
        heir = next(node for node in cluster.servers if node is not owner)
        name = heir.ask("CLUSTER", "MYID")
        for node in (heir, owner, *cluster.servers):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
        await eventually(lambda: store.put("session", "a", b"1", expires_at=NOW + 10))
        assert await store.find("session", "a", now=NOW) == b"1"
        assert heir.ask("DBSIZE") == 1
        await store.close()


def ask_to_take_over(replica: RedisProcess) -> None:
    """A node of a Cluster that is not through within five seconds gives up, and has to be asked again."""
    for _ in range(10):
        replica.ask("CLUSTER", "FAILOVER")
        with contextlib.suppress(AssertionError):
            return wait_until(lambda: replica.ask("ROLE")[0] == "master", 6)
    raise AssertionError("the replica does not take over")


@pytest.mark.parametrize("how", ["asked", pytest.param("killed", marks=pytest.mark.elections)])
async def test_a_replica_of_a_cluster_that_took_over_is_followed_and_has_what_was_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, how: str
) -> None:
    with running_cluster(tmp_path_factory.mktemp("cluster"), has_replica=True) as cluster:
        store = open_store(cluster.url)
        owner, replica = find_owner(cluster), cluster.servers[3]
        await eventually(lambda: store.put("session", "kept", b"1", expires_at=NOW + 10))
        cursor = await eventually(store.cursor)
        await eventually(lambda: store.end("session", "ended", now=NOW, remembered_until=NOW + 10))

        if how == "asked":
            await asyncio.to_thread(ask_to_take_over, replica)
        else:
            owner.stop(signal.SIGKILL)
            await asyncio.to_thread(wait_until, lambda: replica.ask("ROLE")[0] == "master", 60)

        found = await eventually(lambda: store.tombstones_since(cursor), 30)
        assert "ended" in {each.id for each in found}
        assert await eventually(lambda: store.find("session", "kept", now=NOW)) == b"1"
        if how == "asked":  # the other one has become the replica
            await eventually(lambda: store.put("session", "new", b"1", expires_at=NOW + 10), 30)
            assert await eventually(lambda: store.find("session", "new", now=NOW)) == b"1"
        await store.close()
