"""Somebody with hundreds of sessions: their own page costs as many calls of the store as that of somebody with one.

Fifty calls at once, of which none may take longer than 200 ms, would show them an outage.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from authd.login import TEAM_COOKIE
from authd.resources.account_pages import MOST_SHOWN
from authd.state.sqlite import SqliteStore
from tests.security.edge import TEAM_HOST, Edge

SESSIONS = 300


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that the store's file is read or written, for whatever call."""
    made: list[str] = []
    for name in ("_read", "_write"):
        method = getattr(SqliteStore, name)

        async def counted(self: SqliteStore, work: Any, name: str = name, method: Any = method) -> Any:
            made.append(name)
            return await method(self, work)

        monkeypatch.setattr(SqliteStore, name, counted)
    return made


async def show_page(edge: Edge, cookie: str) -> str:
    reply = await edge.ask("/team/", TEAM_HOST, "/", cookie=f"{TEAM_COOKIE}={cookie}")
    assert reply.status == 200
    return reply.body.decode()


async def test_their_page_costs_no_more_calls_of_the_store(edge: Edge, calls: list[str]) -> None:
    alone = edge.organisation_token(await edge.log_in("carol@example.com"))
    many = []
    for _ in range(SESSIONS):
        edge.now += 1
        many.append(await edge.log_in("alice@example.com"))
    await edge.worker.records.note_use(many[-1], now=int(edge.now) + 7200, at_least_seconds=60)
    calls.clear()
    await show_page(edge, alone)
    cost = len(calls)
    calls.clear()

    page = await show_page(edge, edge.organisation_token(many[0]))

    assert len(calls) == cost == 2, "their sessions, and when those were used"
    shown = re.findall(r'name="session" value="(session-[0-9]+)"', page)
    assert len(shown) == MOST_SHOWN
    assert shown[:2] == [many[0].id, many[-1].id], "this one first, then the youngest"
    assert page.count("Last used") == 1, "the others were not used after their beginning"
