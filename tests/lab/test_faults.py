"""What breaks, and what holds meanwhile: nobody is served who may not be, and nobody has to log in again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.estate import ALICE, EDGES, GRAFANA, NAMED, NUMBERS, REDIS_CLI, STORES, WIKI
from tests.lab.machines import Lab, wait_until
from tests.lab.provision import Deployment
from tests.lab.visitors import Visitor, is_served
from tests.lab.watching import Watch, is_whole

_TIMES = 8


@pytest.fixture(scope="module")
def veteran(deployment: Deployment) -> Visitor:
    """Alice at another desk, who logs in before anything breaks and never again."""
    visitor = Visitor(deployment.lab.network)
    assert is_served(visitor.log_in(ALICE))
    assert is_served(visitor.open(WIKI))
    return visitor


@pytest.fixture(autouse=True)
def _nobody_was_forgotten(estate: Lab, veteran: Visitor) -> Iterator[None]:
    """Each worker is asked, also one that has just started and knows only what the store knows."""
    yield
    asked = [(url, edge) for url in (GRAFANA, WIKI) for edge in EDGES] * _TIMES
    refused = [answer for url, edge in asked if not is_served(answer := veteran.ask(url, edge=edge))]
    assert refused == [], [(answer.status, answer.text[:300]) for answer in refused]


def _find_master(lab: Lab) -> str:
    """The machine that two sentinels take for the master; empty while they do not agree."""
    said = [
        lab[name].run(
            *REDIS_CLI, "-h", NAMED[name], "-p", "26379", "sentinel", "get-master-addr-by-name", "authd", check=False
        )
        for name in STORES
    ]
    named = [each.stdout.split()[0] for each in said if each.stdout.strip()]
    return next((name for name in STORES if named.count(NAMED[name]) >= 2), "")


@pytest.mark.parametrize("host", NUMBERS)
def test_a_host_is_rebooted(estate: Lab, watch: Watch, host: str) -> None:
    with watch.going_on():
        estate[host].reboot()
    wait_until(lambda: is_whole(estate, *EDGES), "logins work again", seconds=120)


def test_an_edge_is_killed_and_the_other_serves(estate: Lab, watch: Watch) -> None:
    with watch.going_on():
        estate["edge1"].pull_plug()
        wait_until(lambda: is_whole(estate, "edge2"), "logins at the other edge", seconds=120)
        before = watch.count("edge2", served=True)
        wait_until(lambda: watch.count("edge2", served=True) > before + 20, "the other edge serves")
        estate["edge1"].boot()


def test_redis_fails_over(estate: Lab, watch: Watch) -> None:
    wait_until(lambda: _find_master(estate), "there is a master", seconds=120)
    old = _find_master(estate)
    with watch.going_on():
        estate[old].run("systemctl", "kill", "-s", "KILL", "redis-server@authd")
        estate[old].run("systemctl", "stop", "redis-server@authd")
        wait_until(lambda: _find_master(estate) not in ("", old), "another master", seconds=120)
        wait_until(lambda: is_whole(estate, *EDGES), "logins work again", seconds=120)
        estate[old].run("systemctl", "start", "redis-server@authd")


@pytest.mark.parametrize("seconds", [3, 15, 60])
def test_a_cable_is_out(estate: Lab, watch: Watch, seconds: int) -> None:
    """Of the origin that dials out, and of a machine with Redis."""
    with watch.going_on(), estate.network.cut("origin2", "redis", seconds=seconds):
        pass
    wait_until(lambda: is_whole(estate, *EDGES), "logins work again", seconds=120)


def test_the_key_of_a_tunnel_is_revoked(deployment: Deployment, watch: Watch) -> None:
    """As an operator does it: the origin leaves the list of the playbook."""
    estate = deployment.lab
    key = (estate["origin2"].root / "etc/authd-tunnel/id_ed25519.pub").read_text().strip()
    with watch.going_on():
        deployment.play("edges", "tunnel_edge", tunnel_edge_origins=[])
        member = Visitor(estate.network).take_over(watch.member)
        for edge in EDGES:
            wait_until(lambda edge=edge: member.ask(WIKI, edge=edge).status >= 500, "the tunnel is closed")
            assert is_served(member.ask(GRAFANA, edge=edge))
        deployment.play("edges", "tunnel_edge", tunnel_edge_origins=[{"name": "wiki", "public_key": key}])
