"""The estate in use: one login for both edges, and no way around them."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ipranges.namespaces import entered
from tests.lab.estate import (
    ALICE,
    BOB,
    CLIENT,
    EDGES,
    GRAFANA,
    LISTENING,
    MALLORY,
    NAMED,
    NUMBERS,
    ORIGINS,
    REDIS_CLI,
    REVOKED_WITHIN_SECONDS,
    STORES,
    WIKI,
)
from tests.lab.machines import Lab, wait_until
from tests.lab.visitors import Visitor, is_served

_PROBE_SECONDS = 2
_PORTS = (22, 25, 80, 443, 2222, 3000, 5432, 6379, 7844, 8000, 8080, 8443, 9000, 9090, 26379)


_ANSWERS, _REFUSES, _SILENT = "answers", "refuses", "is silent"


def _probe(lab: Lab, host: str, *, on: str = CLIENT) -> dict[int, str]:
    """What each port of a host does with a connection from elsewhere. A refusal, too, tells that somebody is there."""
    seat, address = lab.network.namespace(on), lab.network.address(host)

    def try_port(port: int) -> str:
        with entered(seat):
            try:
                socket.create_connection((address, port), _PROBE_SECONDS).close()
            except ConnectionRefusedError:
                return _REFUSES
            except TimeoutError:
                return _SILENT
        return _ANSWERS

    with ThreadPoolExecutor(len(_PORTS)) as at_once:
        return dict(zip(_PORTS, at_once.map(try_port, _PORTS), strict=True))


def _find_open(lab: Lab, host: str, *, on: str = CLIENT) -> set[int]:
    return {port for port, does in _probe(lab, host, on=on).items() if does == _ANSWERS}


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
    time.sleep(REVOKED_WITHIN_SECONDS)
    assert bob.ask(GRAFANA, edge=asking).status == 401
    assert bob.ask(GRAFANA, edge=revoking).status == 401


@pytest.mark.parametrize("origin", ORIGINS)
def test_no_port_of_an_origin_answers_the_client(estate: Lab, origin: str) -> None:
    assert _find_open(estate, origin) == set()


def test_the_origin_behind_an_allowlist_answers_its_edges_and_hides_from_others(estate: Lab) -> None:
    own = {22, LISTENING["origin1"][1]}
    for neighbour in (CLIENT, "origin2", "redis"):
        found = _probe(estate, "origin1", on=neighbour)
        assert {port for port, does in found.items() if does == _SILENT} == own
    for edge in EDGES:
        assert _find_open(estate, "origin1", on=edge) == own - {22}


def test_the_origin_with_a_tunnel_answers_nobody(estate: Lab) -> None:
    for neighbour in (CLIENT, *EDGES, "origin1"):
        assert set(_probe(estate, "origin2", on=neighbour).values()) == {_SILENT}
    listening = estate["origin2"].shell("ss -Hltn | awk '{ print $4 }'").split()
    # sshd is the operator's, and the firewall lets nobody else reach it.
    assert {address for address in listening if not address.endswith(":22")} == {"127.0.0.1:8080"}


@pytest.mark.parametrize("host", STORES)
def test_the_client_reaches_nothing_but_the_web_and_the_tunnels_door(estate: Lab, host: str) -> None:
    assert _find_open(estate, host) == ({80, 443, 7844} if host in EDGES else set())


def test_redis_speaks_tls_alone_and_to_none_but_its_machines(estate: Lab) -> None:
    for host in STORES:
        assert {6379, 26379} <= _find_open(estate, host, on="edge1" if host != "edge1" else "edge2")
        assert _probe(estate, host, on="origin1")[6379] == _SILENT
    plain = estate["edge1"].run("redis-cli", "-h", NAMED["redis"], "ping", check=False)
    assert "PONG" not in plain.stdout
    assert "NOAUTH" in estate["edge1"].run(*REDIS_CLI, "-h", NAMED["redis"], "ping").stdout


def test_the_operator_reaches_every_machine(estate: Lab) -> None:
    for name in NUMBERS:
        wait_until(lambda name=name: estate[name].run("true", check=False).returncode == 0, f"ssh to {name}")
