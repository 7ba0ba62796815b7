"""The estate in use: one login for both edges, and no way around them."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.estate import ALICE, BOB, CLIENT, EDGES, GRAFANA, MALLORY, NUMBERS, ORIGINS, WIKI
from tests.lab.machines import Lab, wait_until
from tests.lab.visitors import Visitor, is_served

# What authd promises is two; a busy machine may need a moment to ask.
_REVOKED_WITHIN_SECONDS = 2
_PORTS = (22, 25, 80, 443, 2222, 3000, 5432, 6379, 7844, 8000, 8080, 8443, 9000, 9090, 26379)


def _find_open_ports(lab: Lab, host: str, *, on: str = CLIENT) -> set[int]:
    """Which ports of a host answer, be it with a refusal, to somebody who sits elsewhere."""

    def answers(port: int) -> bool:
        probe = f"exec 3<>/dev/tcp/{lab.network.address(host)}/{port}"
        command = ["timeout", "2", "bash", "-c", probe]
        done = subprocess.run(lab.network.on(on, *command), capture_output=True, check=False)
        # 124 is a timeout's own; anything else came from the host.
        return done.returncode != 124

    with ThreadPoolExecutor(8) as at_once:
        return {port for port, is_open in zip(_PORTS, at_once.map(answers, _PORTS), strict=True) if is_open}


def test_who_logs_in_at_one_edge_goes_on_at_the_other(estate: Lab) -> None:
    alice = Visitor(estate.network)
    page = alice.log_in(ALICE, edge="edge1")
    assert page.json() == {"application": "origin1", "user": "alice@example.com", "token": True}
    for edge in EDGES:
        assert is_served(alice.ask(GRAFANA, edge=edge))
        assert alice.open(WIKI, edge=edge).json()["application"] == "origin2"


def test_who_may_not_pass_is_refused_at_both(estate: Lab) -> None:
    mallory = Visitor(estate.network)
    assert mallory.log_in(MALLORY, edge="edge1").status == 403
    for edge in EDGES:
        assert mallory.ask(GRAFANA, edge=edge).status in (401, 403)
        assert Visitor(estate.network).ask(WIKI, edge=edge).status == 401


@pytest.mark.parametrize(("revoking", "asking"), [EDGES, EDGES[::-1]])
def test_a_session_revoked_on_one_edge_is_refused_by_the_other(estate: Lab, revoking: str, asking: str) -> None:
    bob = Visitor(estate.network)
    bob.log_in(BOB, edge=asking)
    assert is_served(bob.ask(GRAFANA, edge=asking))
    estate[revoking].run("authd", "sessions", "revoke", "--person", str(BOB.claims["email"]))
    time.sleep(_REVOKED_WITHIN_SECONDS)
    assert bob.ask(GRAFANA, edge=asking).status == 401
    assert bob.ask(GRAFANA, edge=revoking).status == 401


@pytest.mark.parametrize("origin", ORIGINS)
def test_nothing_of_an_origin_answers_the_client(estate: Lab, origin: str) -> None:
    assert _find_open_ports(estate, origin) == set()


def test_an_origin_with_a_tunnel_answers_nobody(estate: Lab) -> None:
    for neighbour in (*EDGES, "origin1"):
        assert _find_open_ports(estate, "origin2", on=neighbour) == set()
    listening = estate["origin2"].shell("ss -Hltn | awk '{ print $4 }'").split()
    # sshd is the operator's, and the firewall lets nobody else reach it.
    assert {address for address in listening if not address.endswith(":22")} == {"127.0.0.1:8080"}


@pytest.mark.parametrize("host", [*EDGES, "redis"])
def test_the_client_reaches_nothing_but_the_web_and_the_tunnels_door(estate: Lab, host: str) -> None:
    assert _find_open_ports(estate, host) == ({80, 443, 7844} if host in EDGES else set())


def test_the_operator_reaches_every_machine(estate: Lab) -> None:
    for name in NUMBERS:
        wait_until(lambda name=name: estate[name].run("true", check=False).returncode == 0, f"ssh to {name}")
