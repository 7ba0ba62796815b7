"""From one store into another and back: everything that counts arrives, and nobody is logged out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from authd.cli import main
from authd.model import Identity, Session
from authd.sealing import Sealer
from authd.state import open_store
from authd.state.records import Records
from tests.harness.redis import RedisServers, running_redis

NOW = int(time.time())
TEAM = "auth.example.com"
ALICE = Identity("s", "corp", "1", "alice@example.com", "alice@example.com", None, (), ())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(servers: RedisServers) -> str:
    servers.empty()
    return servers.url


def make_session(number: int) -> Session:
    return Session(f"session-{number}", ALICE, NOW - 10, NOW + 5000, "192.0.2.1", "tests")


def open_records(url: str) -> Records:
    def fail(kind: str) -> None:
        raise AssertionError(f"a row of {kind} was not sealed by us")

    return Records(open_store(url), Sealer((b"s" * 32,)), on_broken=fail, clock=lambda: NOW)


async def fill(url: str) -> str:
    """700 sessions, one of which has ended, a code and the keys; the id of the signing key."""
    records = open_records(url)
    for number in range(700):
        await records.add_session(make_session(number))
    await records.end_session(make_session(13), now=NOW)
    keyring = await records.load_keyring(team_domain=TEAM, now=NOW)
    await records._store.put("session", "expired", b"x", expires_at=NOW - 1)
    await records._store.count("login", "192.0.2.1", now=NOW, window_seconds=600)
    await records._store.close()
    return keyring.signing_key(NOW).key_id


async def check(url: str, key_id: str) -> None:
    records = open_records(url)
    assert await records.find_session("session-0", now=NOW) == make_session(0)
    assert await records.find_session("session-699", now=NOW) == make_session(699)
    assert await records.find_session("session-13", now=NOW) is None
    assert [each.id for each in await records._store.tombstones_since(0)] == ["session-13"]
    keyring = await records.load_keyring(team_domain=TEAM, now=NOW)
    assert keyring.signing_key(NOW).key_id == key_id
    # 699 sessions, the keys and one tombstone: neither what had expired nor the counter.
    assert await records._store.size() == 701
    await records._store.close()


def run(source: str, target: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["state", "migrate", "--from", source, "--to", target, *options])


def call(source: str, target: str, *options: str) -> Result:
    result = run(source, target, *options)
    assert result.exit_code == 0, result.output
    return result


async def in_thread(source: str, target: str, *options: str) -> Result:
    return await asyncio.to_thread(call, source, target, *options)


async def test_there_and_back_again(redis: str, tmp_path: Path) -> None:
    first, second = f"sqlite:{tmp_path}/first.db", f"sqlite:{tmp_path}/second.db"
    key_id = await fill(first)
    told = json.loads((await in_thread(first, redis, "--json")).stdout)
    assert told == {"ok": True, "values": 700, "revocations": 1}
    await check(redis, key_id)
    assert "copied 700 values and 1 revocations" in (await in_thread(redis, second)).stdout
    await check(second, key_id)


async def test_a_target_that_holds_anything_is_refused_and_left_alone(redis: str, tmp_path: Path) -> None:
    source = f"sqlite:{tmp_path}/first.db"
    await fill(source)
    store = open_store(redis)
    await store.count("login", "a", now=NOW, window_seconds=600)
    result = await asyncio.to_thread(run, source, redis)
    assert result.exit_code == 1
    assert "the target is not empty (it holds 1 rows)" in result.output
    assert await store.size() == 1
    await store.close()


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("sqlite:{directory}/none.db", "sqlite:{directory}/new.db", "no such store to copy from"),
        ("memory:", "sqlite:{directory}/new.db", "--from: is not a store"),
        ("{redis}", "redis://:hunter2@a,b", "--to: has several hosts"),
        ("{redis}", "redis://:hunter2@127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_a_mistake_is_one_sentence_without_a_password(
    redis: str, tmp_path: Path, source: str, target: str, words: str
) -> None:
    result = run(source.format(directory=tmp_path, redis=redis), target.format(directory=tmp_path))
    assert result.exit_code == 1
    assert words in result.output
    assert "hunter2" not in result.output
    assert not list(tmp_path.glob("*.db"))


async def test_a_target_that_may_evict_is_refused(servers: RedisServers, redis: str, tmp_path: Path) -> None:
    await fill(f"sqlite:{tmp_path}/first.db")
    servers.servers[0].ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        result = await asyncio.to_thread(run, f"sqlite:{tmp_path}/first.db", redis)
    finally:
        servers.servers[0].ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert result.exit_code == 1
    assert "set it to noeviction" in result.output
