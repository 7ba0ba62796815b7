"""What breaks inside authd lets nobody in, forgets no revocation and tells no secret."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from authd.audit import _JsonLines
from authd.config import parse_config
from authd.errors import StoreUnavailableError
from authd.model import Reason, Session
from tests.security.conftest import StartEdge
from tests.security.edge import PROVIDER, Edge

TOKEN_LIKE = "eyJhbGciOiJSUzI1NiJ9.secret-payload.signature"


@pytest.mark.parametrize("path", ["/auth", "/auth/", "/AUTH", "/auth//", "/nothing", "/"])
async def test_only_get_auth_can_say_yes(edge: Edge, path: str) -> None:
    """falcon answers OPTIONS with 200 by itself, and nginx would read that as a permission."""
    cookie = edge.cookie(edge.token(await edge.log_in()))
    for method in ("HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"):
        answer = await edge.ask(path, "grafana.test", method=method, cookie=cookie)
        assert answer.status >= 400, method


FAULTS: dict[str, tuple[str, str]] = {
    "the index": ("access", "_index"),
    "the cache": ("access", "cacheable_until"),
    "the token": ("tokens", "verify_application_token"),
    "the session": ("sessions", "find"),
    "the keys": ("tokens", "_keyring"),
}


ERRORS = (ValueError(TOKEN_LIKE), RecursionError(), KeyError(TOKEN_LIKE), StoreUnavailableError(""))


@pytest.mark.parametrize(("part", "name"), FAULTS.values(), ids=FAULTS)
async def test_an_exception_anywhere_in_the_check_is_a_500(
    edge: Edge, part: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = edge.cookie(edge.token(await edge.log_in()))
    assert (await edge.check(cookie=cookie)).status == 200
    for error in ERRORS:
        edge.forget()
        monkeypatch.setattr(getattr(edge.worker, part), name, _raising(error))
        answer = await edge.check(cookie=cookie)
        assert answer.status == 500, error
        assert b"eyJ" not in answer.body
        assert "set-cookie" not in dict(answer.headers)


def _raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


async def test_an_unforeseen_error_is_logged_without_its_words(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of a library may quote the token that it stumbled over, and its cause as well."""

    def fail(*_: object) -> None:
        try:
            raise ValueError(TOKEN_LIKE)
        except ValueError as error:
            raise RuntimeError(TOKEN_LIKE) from error

    monkeypatch.setattr(edge.worker.access, "_index", fail)
    assert (await edge.check()).status == 500
    (record,) = [record for record in caplog.records if record.getMessage() == "error.unhandled"]
    line = _JsonLines().format(record)
    assert "secret-payload" not in line
    assert "ValueError" in line
    assert "RuntimeError" in line
    assert "test_faults_stay_closed.py" in line


async def run_for_a_while(edge: Edge, until: Any) -> None:
    task = asyncio.create_task(edge.worker.run())
    try:
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.02)
    finally:
        task.cancel()


async def test_a_reload_that_cannot_be_used_changes_nothing_and_revocations_go_on(
    start_edge: StartEdge, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker reads the provider's secret. A missing one ended the task that follows revocations, in silence."""
    edge, other = await start_edge(), await start_edge()
    provider = PROVIDER | {"issuer": "http://127.0.0.1:2", "client_secret_file": "missing"}
    broken = parse_config(
        yaml.safe_dump(edge.config | {"identity_providers": [provider]}), source="tests", base_dir=edge.directory
    )
    offered = [broken]
    edge.worker._new_config = lambda: offered.pop() if offered else None
    session = await edge.log_in()
    cookie = edge.cookie(edge.token(session))
    await other.worker.sessions.end(session)
    await run_for_a_while(edge, lambda: not offered and has_ended(edge, session))
    assert (await edge.check(cookie=cookie)).status == 401
    assert "config.refused" in [record.getMessage() for record in caplog.records]
    assert edge.worker.policies().config.identity_providers[0].issuer == PROVIDER["issuer"]


async def test_a_fault_in_the_upkeep_does_not_stop_revocations(
    start_edge: StartEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, other = await start_edge(), await start_edge()
    faults = [OSError("no space left"), RuntimeError("a bug")]

    def flush() -> None:
        if faults:
            raise faults.pop()

    monkeypatch.setattr(edge.worker.metrics, "flush", flush)
    session = await edge.log_in()
    task = run_for_a_while(edge, lambda: not faults and has_ended(edge, session))
    ending = asyncio.create_task(_end_later(other, session))
    await task
    await ending


def has_ended(edge: Edge, session: Session) -> bool:
    return edge.worker.sessions.why_gone(session.id) is Reason.SESSION_ENDED


async def _end_later(edge: Edge, session: Any) -> None:
    await asyncio.sleep(0.6)
    await edge.worker.sessions.end(session)
