"""What only Redis has: users with few rights, TLS, passwords in files, and a version that is too old."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from authd.errors import StoreUnavailableError
from authd.state import open_store
from authd.state.redis_info import find_problem
from tests.demo.certificates import ensure_certificates
from tests.harness.redis import RedisProcess, running_redis

NOW = 4_000_000_000
DOCS = Path(__file__).parents[3] / "docs" / "redis.md"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A server on which authd has exactly the rights that docs/redis.md gives it."""
    rule = re.search(r"^ACL SETUSER (authd .*)$", DOCS.read_text(), re.MULTILINE)
    assert rule is not None
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        (server,) = running.servers
        server.ask("ACL", "SETUSER", *rule[1].replace("PASSWORD", "p@ss/word").split())
        yield server


async def use_everything(url: str) -> None:
    store = open_store(url)
    await store.check()
    await store.put("session", "a", b"1", expires_at=NOW + 10)
    assert await store.find("session", "a", now=NOW) == b"1"
    assert await store.take("session", "a", now=NOW) == b"1"
    assert await store.put_if_absent("session", "b", b"1", now=NOW, expires_at=NOW + 10)
    assert await store.count("login", "a", now=NOW, window_seconds=60) == 1
    await store.end("session", "b", now=NOW, remembered_until=NOW + 1)
    assert await store.cursor() > 0
    assert len(await store.tombstones_since(0)) == 1
    assert [each.id async for each in store.read_ends(now=NOW)] == ["b"]
    assert [each async for each in store.read_values(now=NOW)] == []
    assert await store.size() == 2
    assert await store.sweep(now=NOW + 1) == 1
    await store.close()


async def test_the_rights_in_the_documentation_are_enough(redis: RedisProcess, tmp_path: Path) -> None:
    redis.ask("FLUSHALL")
    await use_everything(f"redis://authd:p%40ss%2Fword@127.0.0.1:{redis.port}/0")
    password = tmp_path / "redis.password"
    password.write_text("p@ss/word\n")
    redis.ask("FLUSHALL")
    await use_everything(f"redis://authd@127.0.0.1:{redis.port}?password_file={password}")


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
        server = RedisProcess(tmp_path / "tls", plain.servers[0].port, ("--tls-port", str(port), *files, *authority))
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
