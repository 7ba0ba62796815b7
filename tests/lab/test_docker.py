"""A machine on which Docker runs: what it publishes is closed by the role, and what is Docker's stays Docker's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.machines import Lab, Machine, running_machines, wait_until
from tests.lab.network import NETWORK
from tests.lab.playbook import Run, run_roles

INSTALL = "apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy install docker.io iptables busybox-static"
IMAGE = """
mkdir -p /srv/image/bin /srv/image/www
cp /bin/busybox /srv/image/bin/
echo inside >/srv/image/www/index.html
tar -C /srv/image -c . | docker import - application:1
"""
SERVE = "/bin/busybox httpd -f -p 80 -h /www"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """`docked` runs two containers, whose ports everybody reaches. Each test begins where the one before has ended."""
    with running_machines({"docked": 31}, also={"edge": 11, "stranger": 10}, containers=["docked"]) as made:
        made["docked"].shell(INSTALL, seconds=300)
        made["docked"].shell(IMAGE)
        publish(made["docked"], "application", 8080)
        publish(made["docked"], "other", 9090)
        for port in (8080, 9090):
            wait_until(lambda port=port: reaches(made, "stranger", port), f"port {port} is open to all")
        yield made


def publish(machine: Machine, name: str, port: int) -> None:
    """A container as people start it: its port on every address of the machine, past most firewalls."""
    again = "--restart unless-stopped"
    machine.shell(f"docker run --detach {again} --name {name} --publish {port}:80 application:1 {SERVE}")


def reaches(lab: Lab, host: str, port: int) -> bool:
    ask = ["curl", "--silent", "--max-time", "2", f"http://{lab['docked'].address}:{port}/"]
    return subprocess.run(lab.network.on(host, *ask), capture_output=True, text=True, check=False).stdout == "inside\n"


def lock_down(lab: Lab, mode: str) -> Run:
    given = {
        "origin_lockdown_mode": mode,
        "origin_lockdown_ports": [8080, 8081],
        "origin_lockdown_edges": [lab.network.address("edge")],
        "origin_lockdown_ssh_from": [f"{NETWORK}.0/24"],
    }
    return run_roles(lab, "docked", ["origin_lockdown"], given).must()


def list_docker_rules(machine: Machine) -> str:
    return machine.shell("nft --stateless list table ip nat; nft --stateless list table ip filter")


def test_a_published_port_answers_the_edges_alone(lab: Lab) -> None:
    before = list_docker_rules(lab["docked"])
    lock_down(lab, "edges")
    assert reaches(lab, "edge", 8080)
    assert not reaches(lab, "stranger", 8080)
    assert reaches(lab, "stranger", 9090), "a port that nobody named is as it was"
    assert list_docker_rules(lab["docked"]) == before


def test_what_docker_does_later_opens_nothing(lab: Lab) -> None:
    machine = lab["docked"]
    publish(machine, "later", 8081)
    machine.shell("systemctl restart docker")
    wait_until(lambda: reaches(lab, "edge", 8081) and reaches(lab, "edge", 8080), "containers run again")
    assert not reaches(lab, "stranger", 8080)
    assert not reaches(lab, "stranger", 8081)


def fetch(machine: Machine, address: str, port: int) -> bool:
    """Whether a container gets a page from there."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc -w 2 {address} {port}"
    run = ["docker", "run", "--rm", "application:1", "/bin/busybox", "sh", "-c", ask]
    return " 200 OK" in machine.run(*run, check=False).stdout


def test_containers_reach_out_and_one_another_as_before(lab: Lab) -> None:
    """The stranger's cable is the world; what comes back belongs to a connection that a container began."""
    serve = lab.network.on("stranger", "python3", "-m", "http.server", "7000", "--directory", "/usr/share/doc")
    served = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        world = lab.network.address("stranger")
        wait_until(lambda: fetch(lab["docked"], world, 7000), "a page from outside", seconds=20)
    finally:
        served.kill()
        served.wait()
    inside = lab["docked"].shell("docker inspect --format '{{.NetworkSettings.IPAddress}}' application").strip()
    assert fetch(lab["docked"], inside, 80)


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    played = lock_down(lab, "edges")
    assert played.changed == {"docked": 0}, played.changes


def test_a_reboot_opens_nothing(lab: Lab) -> None:
    lab["docked"].reboot()
    wait_until(lambda: reaches(lab, "edge", 8080), "the container runs again")
    assert not reaches(lab, "stranger", 8080)


def test_closed_to_everybody_is_closed_for_containers_too(lab: Lab) -> None:
    lock_down(lab, "closed")
    for host in ("edge", "stranger"):
        assert not any(reaches(lab, host, port) for port in (8080, 8081, 9090))
    assert lab["docked"].shell("curl --silent --max-time 2 http://127.0.0.1:8080/") == "inside\n"


def test_a_container_that_holds_nginx_port_is_told_and_left_alone(lab: Lab) -> None:
    machine = lab["docked"]
    publish(machine, "web", 443)
    given = {"nginx_edge_team_domain": "auth.lab.test", "nginx_edge_hosts": []}
    played = run_roles(lab, "docked", ["nginx_edge"], given)
    assert not played.is_good
    assert "Port 80 or 443 of docked is held by another program than nginx; stop it or move it first" in played.output
    assert "docker-proxy" in played.output
    assert machine.run("sh", "-c", "command -v nginx", check=False).returncode != 0
    assert machine.shell("docker inspect --format '{{.State.Status}}' web") == "running\n"
