"""What only Redis has: users with few rights, TLS, passwords in files, and a version that is too old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from authd.errors import StoreDamagedError, StoreUnavailableError, StoreUnfitError
from authd.state import Store, open_store
from authd.state.redis_info import find_problem
from tests.demo.certificates import ensure_certificates
from tests.harness.redis import REDIS, RedisProcess, read_documented_user, running_cluster, running_redis

NOW = 4_000_000_000
# What one server, without replicas, has no use for: tested beside it.
ELSEWHERE = {"+wait", "+cluster|slots"}
GRANTS = [each for each in read_documented_user() if each.startswith("+")]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A server on which authd has exactly the rights that docs/redis.md gives it."""
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        (server,) = running.servers
        server.ask("ACL", "SETUSER", *read_documented_user())
        yield server


async def use_everything(url: str) -> None:
    store = open_store(url)
    try:
        await use_every_call(store)
    finally:
        await store.close()


async def use_every_call(store: Store) -> None:
    await store.check()
    await store.put("session", "a", b"1", expires_at=NOW + 10)
    assert await store.find("session", "a", now=NOW) == b"1"
    assert await store.take("session", "a", now=NOW) == b"1"
    assert await store.put_if_absent("session", "b", b"1", now=NOW, expires_at=NOW + 10)
    await store.put("session", "c", b"1", expires_at=NOW + 10, owner="jane")
    assert await store.replace("session", "c", b"1", b"2", now=NOW, expires_at=NOW + 20, owner="jane")
    assert [each.id for each in await store.find_owned("session", "jane", now=NOW)] == ["c"]
    await store.end("session", "c", now=NOW, remembered_until=NOW + 1)
    assert await store.count("login", "a", now=NOW, window_seconds=60) == 1
    await store.end("session", "b", now=NOW, remembered_until=NOW + 1)
    assert await store.cursor() > 0
    assert len(await store.tombstones_since(0)) == 2
    assert [each.id async for each in store.read_ends(now=NOW)] == ["c", "b"]
    assert [each async for each in store.read_values(now=NOW)] == []
    assert await store.size() == 3
    assert await store.sweep(now=NOW + 1) == 2


async def test_the_rights_in_the_documentation_are_enough(redis: RedisProcess, tmp_path: Path) -> None:
    redis.ask("FLUSHALL")
    await use_everything(f"redis://authd:p%40ss%2Fword@127.0.0.1:{redis.port}/0")
    password = tmp_path / "redis.password"
    password.write_text("p@ss/word\n")
    redis.ask("FLUSHALL")
    await use_everything(f"redis://authd@127.0.0.1:{redis.port}?password_file={password}")


@pytest.mark.parametrize("grant", [each for each in GRANTS if each not in ELSEWHERE])
async def test_none_of_the_rights_in_the_documentation_is_too_much(redis: RedisProcess, grant: str) -> None:
    """Without any single one of them something fails, and for that reason."""
    redis.ask("FLUSHALL")
    redis.ask("ACL", "LOG", "RESET")
    redis.ask("ACL", "SETUSER", "authd", grant.replace("+", "-"))
    try:
        with pytest.raises((StoreUnavailableError, StoreDamagedError, StoreUnfitError)):
            await use_everything(f"{redis.url.replace('://', '://authd:p%40ss%2Fword@')}/1")
        assert {entry["object"] for entry in read_refusals(redis)} == {grant[1:]}
    finally:
        redis.ask("ACL", "SETUSER", *read_documented_user())


async def test_waiting_for_replicas_needs_its_right(redis: RedisProcess) -> None:
    url = f"{redis.url.replace('://', '://authd:p%40ss%2Fword@')}?replicas=1"
    store = open_store(url)
    with pytest.raises(StoreUnavailableError, match="0 of 1 replicas"):
        await store.put("session", "a", b"1", expires_at=NOW + 10)
    await store.close()


async def test_the_rights_in_the_documentation_are_enough_for_a_cluster(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        url = cluster.url.replace("://", "://authd:p%40ss%2Fword@")
        for node in cluster.servers:
            node.ask("ACL", "SETUSER", *read_documented_user())
        await use_everything(url)
        cluster.empty()
        for node in cluster.servers:
            node.ask("ACL", "SETUSER", "authd", "-cluster|slots")
        with pytest.raises(StoreUnavailableError):
            await use_everything(url)


def read_refusals(redis: RedisProcess) -> list[dict[str, str]]:
    """What the server has refused for want of a right."""
    entries = [
        each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True))
        for each in redis.ask("ACL", "LOG")
    ]
    return [each for each in entries if each["reason"] == "command"]


async def test_a_wrong_password_is_told_without_it(redis: RedisProcess) -> None:
    store = open_store(f"redis://authd:hunter2@127.0.0.1:{redis.port}")
    with pytest.raises(StoreUnavailableError, match="invalid username-password pair") as caught:
        await store.cursor()
    assert "hunter2" not in str(caught.value)
    await store.close()


async def test_a_changed_password_is_read_without_a_restart(redis: RedisProcess, tmp_path: Path) -> None:
    password = tmp_path / "redis.password"
    password.write_text("not yet")
    store = open_store(f"redis://authd@127.0.0.1:{redis.port}?password_file={password}")
    with pytest.raises(StoreUnavailableError):
        await store.cursor()
    password.write_text("p@ss/word")
    await store.cursor()
    await store.close()


async def test_tls_is_verified(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, ["localhost"])
    files = ("--tls-cert-file", f"{tmp_path}/server.pem", "--tls-key-file", f"{tmp_path}/server.key")
    authority = ("--tls-ca-cert-file", f"{tmp_path}/ca.pem", "--tls-auth-clients", "no")
    with running_redis(tmp_path) as plain:
        port = plain.servers[0].port + 1
        plain.servers[0].stop()
        options = ("--tls-port", str(port), *files, *authority)
        server = RedisProcess(tmp_path / "tls", plain.servers[0].port, (*REDIS, *options))
        server.start()
        try:
            trusted = f"?ca_file={tmp_path}/ca.pem"
            await use_everything(f"rediss://localhost:{port}{trusted}")
            for url in (f"rediss://localhost:{port}", f"rediss://127.0.0.1:{port}{trusted}"):
                store = open_store(url)
                with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
                    await store.cursor()
                await store.close()
        finally:
            server.stop()


@pytest.mark.parametrize(("version", "is_fit"), [("6.0.16", False), ("6.2.0", True), ("7.0.15", True), ("", False)])
def test_only_versions_with_the_commands_that_we_need_are_used(version: str, is_fit: bool) -> None:
    problem = find_problem({"redis_version": version, "maxmemory_policy": "noeviction"})
    assert (problem is None) is is_fit
