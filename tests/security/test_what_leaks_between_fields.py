"""One value must not become another on its way: a group, a cookie of another application, an event of the log."""

from __future__ import annotations

import logging
import sys

import pytest

from authd.attempts import Attempt
from authd.config.emails import parse_email
from authd.resources.check import render_identity_headers
from authd.urls import find_host
from tests.security.conftest import StartEdge
from tests.security.edge import STAFF, TEAM_HOST, Edge, make_identity


@pytest.mark.parametrize(
    "group",
    [" admins", "admins ", "a,admins", "a, admins", "%61dmins", '"admins"', "a\\,admins", "ädmins", "admins\u3000"],
)
def test_no_group_reads_as_another_one_behind_the_header(group: str) -> None:
    """Applications split at commas, trim what they find, and some undo quotes."""
    header = render_identity_headers(make_identity(groups=("staff", group)))["X-Authd-Groups"]
    assert header.isascii()
    assert "admins" not in [part.strip().strip('"') for part in header.split(",")]
    assert header.count(",") == 1


async def test_a_token_of_the_host_is_not_taken_for_the_one_of_a_path(start_edge: StartEdge) -> None:
    """Where the location names no application, nginx reads the host's cookie, not the one of the path's application."""
    applications = [
        {"id": "site", "domains": ["paths.test"], "policies": [STAFF]},
        {"id": "admin", "domains": ["paths.test/admin"], "policies": [STAFF]},
    ]
    edge = await start_edge(applications=applications)
    session = await edge.log_in()
    site, admin = edge.token(session, "site"), edge.token(session, "admin")
    header = f"{edge.cookie(site, 'site')}; {edge.cookie(admin, 'admin')}"
    answer = await edge.check("paths.test", "/admin", cookie=header, x_authd_session=site)
    assert answer.status == 200
    assert answer.get("cf-access-jwt-assertion") == admin
    assert answer.get("x-accel-expires") == "0", "nginx' key holds another cookie than the one that decided"


async def test_the_log_tells_of_a_login_only_when_there_was_one(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """The state of an attempt, put behind the login's address, was logged as a login that had succeeded."""
    attempts = edge.worker.login._attempts
    attempt = Attempt(
        "id", "id.state", "nonce", "verifier", "corp", "grafana", "grafana.test", "/", "0" * 64, 0, int(edge.now) + 60
    )
    cookie = attempts.render_attempt(attempt, "")[0].partition(";")[0]
    aud = edge.application("grafana").aud
    with caplog.at_level(logging.INFO, logger="authd"):
        answer = await edge.ask(
            "/team/login/grafana.test", TEAM_HOST, f"/?kid={aud}&redirect_url=/&state=id.state", cookie=cookie
        )
    assert answer.status == 302
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith("login.")] == []


def test_host_names_that_nobody_can_have_are_not_remembered() -> None:
    """The address of a login names a host: 4,096 of them with 30 kB each would stay in memory for ever."""
    find_host("a.test")
    assert find_host("\u212aube.test") is None
    long = "a" * 30_000
    held = sys.getrefcount(long)
    assert find_host(long) is None
    assert sys.getrefcount(long) == held


def test_addresses_that_only_look_alike_stay_apart() -> None:
    assert parse_email("admın@corp.test") != "admin@corp.test"
    assert parse_email("ａ@corp.test") != "a@corp.test"
