"""Whoever can write to the store can log people out, and become nobody (design 6, attacks.md F5)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from authd.attempts import AppSession
from authd.errors import StoreDamagedError
from authd.keys import generate_keyring, render_keyring
from authd.login import TEAM_COOKIE
from authd.sealing import Sealer
from authd.state.records import CODE_LIFETIME_SECONDS, HandoverCode
from tests.security.conftest import StartEdge
from tests.security.edge import TEAM_HOST, Edge

BROWSER = AppSession("B" * 22)


@contextmanager
def writing(edge: Edge) -> Iterator[sqlite3.Connection]:
    """The store's file, as somebody opens it who has its rights and not its secret. What is remembered is forgotten."""
    with closing(sqlite3.connect(edge.directory / "authd.db")) as db, db:
        yield db
    edge.worker.sessions._remembered.clear()


def rows(edge: Edge, kind: str) -> dict[str, bytes]:
    with writing(edge) as db:
        return dict(db.execute('SELECT id, value FROM "values" WHERE kind = ?', (kind,)).fetchall())


def put(edge: Edge, kind: str, id_: str, value: object, expires_at: int = 2**52) -> None:
    with writing(edge) as db:
        db.execute(
            'INSERT OR REPLACE INTO "values" (kind, id, value, expires_at) VALUES (?, ?, ?, ?)',
            (kind, id_, value, expires_at),
        )


async def status_of(edge: Edge, token: str) -> int:
    return (await edge.check(cookie=edge.cookie(token))).status


async def test_a_row_moved_to_another_session_makes_nobody_somebody_else(edge: Edge) -> None:
    alice, mallory = await edge.log_in(), await edge.log_in("mallory@example.org")
    token = edge.token(mallory)
    assert await status_of(edge, token) == 403
    put(edge, "session", mallory.id, rows(edge, "session")[alice.id])
    assert await status_of(edge, token) == 401


async def test_a_row_of_another_kind_opens_nothing(edge: Edge) -> None:
    session = await edge.log_in()
    token = edge.token(session)
    code = HandoverCode(session.id, "grafana", "grafana.test", "/", BROWSER.hash, 0)
    await edge.worker.records.add_code(session.id, code, now=int(edge.now))
    for kind in ("code", "keyring"):
        (value, *_) = rows(edge, kind).values()
        put(edge, "session", session.id, value)
        assert await status_of(edge, token) == 401
    put(edge, "code", "x" * 32, rows(edge, "session")[session.id])
    answer = await edge.ask("/app/authorized", "grafana.test", f"/?nonce={'x' * 32}&state=")
    assert answer.status == 400


async def test_a_row_sealed_with_another_secret_opens_nothing(edge: Edge) -> None:
    session = await edge.log_in("mallory@example.org")
    document = {"id": session.id, "identity": {"email": "alice@example.com"}}
    sealed = Sealer([b"x" * 32]).seal("session", session.id, json.dumps(document).encode())
    for value in (sealed, json.dumps(document).encode(), b"\x01" + sealed[1:5] + b"\x00" * 60):
        put(edge, "session", session.id, value)
        assert await status_of(edge, edge.token(session)) == 401


@pytest.mark.parametrize("value", ["text", 17, 1.5, b"", b"\x01", b"\x01" * 4096])
async def test_a_row_of_another_type_is_nobodys(edge: Edge, value: object, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite keeps any type in any column; a number was a 500."""
    session = await edge.log_in()
    put(edge, "session", session.id, value)
    assert await status_of(edge, edge.token(session)) == 401
    assert "store.broken_row" in [record.getMessage() for record in caplog.records]


async def test_a_session_cannot_be_made_to_live_longer(edge: Edge) -> None:
    session = await edge.log_in()
    token = edge.token(session)
    team = f"{TEAM_COOKIE}={edge.organisation_token(session)}"
    put(edge, "session", session.id, rows(edge, "session")[session.id], expires_at=2**52)
    edge.now = session.expires_at - 1
    assert await status_of(edge, edge.token(session)) == 200
    edge.now = session.expires_at
    assert await status_of(edge, token) == 401
    answer = await edge.ask("/team/get-identity", TEAM_HOST, cookie=team)
    assert answer.status == 401


async def test_a_code_cannot_be_made_to_live_longer(edge: Edge) -> None:
    """Its row says when it ends, and whoever writes to the store can change that; so the sealed value says it too."""
    session = await edge.log_in()
    code = HandoverCode(session.id, "grafana", "grafana.test", "/", BROWSER.hash, 0)
    await edge.worker.records.add_code("c" * 32, code, now=int(edge.now))
    kept = rows(edge, "code")["c" * 32]
    edge.now += CODE_LIFETIME_SECONDS
    put(edge, "code", "c" * 32, kept)
    answer = await edge.ask(
        "/app/authorized",
        "grafana.test",
        f"/?nonce={'c' * 32}&state=",
        cookie=BROWSER.render(edge.now).partition(";")[0],
    )
    assert answer.status == 400
    assert not answer.get_all("set-cookie")


async def test_keys_that_somebody_else_made_sign_nothing(start_edge: StartEdge) -> None:
    edge = await start_edge()
    session = await edge.log_in()
    token = edge.token(session)
    foreign = render_keyring(generate_keyring(team_domain=edge.worker.policies().config.team_domain, now=int(edge.now)))
    ((id_, _),) = rows(edge, "keyring").items()
    for value in (foreign, Sealer([b"x" * 32]).seal("keyring", id_, foreign), b"", 5):
        put(edge, "keyring", id_, value)
        with pytest.raises(StoreDamagedError):
            await edge.worker.start()
        assert await status_of(edge, token) == 200, "the keys in memory go on"
        with pytest.raises(StoreDamagedError):
            await start_edge()


async def test_rows_that_are_gone_log_people_out_and_let_nobody_in(edge: Edge) -> None:
    session = await edge.log_in()
    with writing(edge) as db:
        db.execute('DELETE FROM "values" WHERE kind = ?', ("session",))
    assert await status_of(edge, edge.token(session)) == 401


async def test_an_anonymous_visitor_writes_nothing(edge: Edge) -> None:
    before: Any = await edge.worker.store.size()
    aud = edge.application("grafana").aud
    for number in range(50):
        await edge.check(cookie=f"CF_AUTHORIZATION=eyJ{number}")
        await edge.challenge(target=f"/{number}")
        await edge.ask("/team/login/grafana.test", TEAM_HOST, f"/?kid={aud}&redirect_url=/{number}")
        await edge.ask("/team/callback", TEAM_HOST, f"/?code=x&state={number}.y")
        await edge.ask("/app/authorized", "grafana.test", f"/?nonce={number}&state=x")
        await edge.ask("/app/logout", "grafana.test", method="POST")
    assert await edge.worker.store.size() == before
