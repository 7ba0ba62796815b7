"""A neighbour's host may set cookies for the whole domain, but never one whose name begins with `__Host-`.

Browsers keep that promise; a reader that cuts a header at other places than they do would break it for them.
"""

from __future__ import annotations

import time

import pytest

from authd.attempts import APP_SESSION_COOKIE, find_app_session
from authd.cookies import find_cookie
from authd.login import TEAM_COOKIE
from tests.security.edge import TEAM_HOST, Edge

NAME = "A" * 22 + ".0.0"


@pytest.mark.parametrize(
    "header",
    [
        f"x=1,{APP_SESSION_COOKIE}={NAME}",
        f"x=1, {APP_SESSION_COOKIE}={NAME}",
        f'x="1,{APP_SESSION_COOKIE}={NAME}"',
        f"x={APP_SESSION_COOKIE}={NAME}",
        f"{APP_SESSION_COOKIE.upper()}={NAME}",
        f"x{APP_SESSION_COOKIE}={NAME}",
        f"={APP_SESSION_COOKIE}={NAME}",
        f'{APP_SESSION_COOKIE}="{NAME}"',
        f"{APP_SESSION_COOKIE}\xa0={NAME}",
        f"{APP_SESSION_COOKIE}\x0b={NAME}",
    ],
)
def test_no_other_cookie_is_taken_for_the_browsers_name(header: str) -> None:
    assert find_app_session(header) is None


def test_two_of_one_name_are_none(edge: Edge) -> None:
    assert find_cookie("a=1; a=2", "a") is None
    assert find_cookie("a=2; a=1", "a") is None


async def test_a_neighbours_cookie_cannot_log_a_visitor_of_the_team_host_in(edge: Edge) -> None:
    token = edge.organisation_token(await edge.log_in("mallory@example.com"))
    own = await edge.ask("/team/get-identity", TEAM_HOST, "/", cookie=f"{TEAM_COOKIE}={token}")
    assert own.status == 200
    for header in (f"x=1,{TEAM_COOKIE}={token}", f"x=1, {TEAM_COOKIE}={token}", f'x="; {TEAM_COOKIE}='):
        tossed = await edge.ask("/team/get-identity", TEAM_HOST, "/", cookie=header)
        assert tossed.status == 401, header


async def test_a_thousand_cookies_of_an_attempt_cost_no_more_than_a_thousand_others(edge: Edge) -> None:
    """Every cookie of an attempt used to be looked up in the whole header again: half a second for one request."""
    names = [f"__Host-authd_attempt_x_{number}=" for number in range(1100)]
    started = time.process_time()
    answer = await edge.ask("/team/callback", TEAM_HOST, "/?state=x.y", cookie="; ".join(names))
    assert answer.status == 400
    assert time.process_time() - started < 0.1
