"""`get-identity` on the team host, asked by an application with the token that it was shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.authd.house import NOW, House, make_client
from tests.authd.issuers.edge_tokens import MACHINE, sign


@pytest.fixture
async def asked(house: House) -> House:
    house.providers = {"corp": object()}  # type: ignore[dict-item]
    return house


async def find(house: House, token: str, name: str = "CF_Authorization") -> Any:
    return await house.login.find_application_session(make_client(f"{name}={token}"))


async def test_an_application_learns_whose_token_it_was_shown(asked: House) -> None:
    for application_id in ("grafana", "wiki"):
        session, token = await asked.open_session(application_id, id_=f"session-{application_id}")
        assert await find(asked, token) == session


async def test_a_session_that_ended_or_was_left_has_no_identity(asked: House) -> None:
    session, token = await asked.open_session()
    other = asked.issue(session, "wiki")
    await asked.sessions.leave(session, asked.index.get_application("grafana").aud)
    assert await find(asked, token) is None
    assert await find(asked, other)
    await asked.sessions.end(session)
    assert await find(asked, other) is None


async def test_nothing_else_is_a_token_of_an_application(asked: House) -> None:
    session, token = await asked.open_session()
    for text in ("", "x", asked.tokens.issue_organisation_token(session), token + "A", sign(), sign(MACHINE)):
        assert await find(asked, text) is None
    assert await find(asked, token, "CF_Authorisation") is None
    shown = asked.tokens.issue_machine_token(
        "x", audience=asked.index.get_application("grafana").aud, expires_at=NOW + 9
    )
    assert await find(asked, shown.text) is None
    asked.clock.now = NOW + 3600
    assert await find(asked, token) is None


async def test_a_provider_that_was_deleted_takes_its_people_along(asked: House) -> None:
    _, token = await asked.open_session()
    asked.providers.clear()
    assert await find(asked, token) is None
