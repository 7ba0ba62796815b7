"""The roles on a machine that really boots: fresh, again, and over what was broken before."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.harness.certificates import write_certificate
from tests.lab.figures import tell
from tests.lab.machines import Lab, Machine, running_machines, wait_until
from tests.lab.playbook import Run, run_roles
from tests.release.bundles import ensure_bundle

ROLES = ("authd", "nginx_edge")
APPLICATION = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "5"); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *a): pass
ThreadingHTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """The machine, and what Ansible is told about it."""

    lab: Lab
    variables: dict[str, Any]

    @property
    def machine(self) -> Machine:
        return self.lab["edge1"]

    def play(self, *options: str, roles: tuple[str, ...] = ROLES, **changes: Any) -> Run:
        """Run the roles; `changes` replace variables."""
        return run_roles(self.lab, "edge1", roles, {**self.variables, **changes}, *options)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    names = ("auth.lab.test", "app.lab.test")
    certificate, key = (path.read_text() for path in write_certificate(tmp_path_factory.mktemp("tls"), names))
    policy = {"name": "Everybody", "decision": "bypass", "include": [{"everyone": True}]}
    provider = {"id": "corp", "type": "oidc", "name": "Corp", "issuer": "https://idp.lab.test", "client_id": "authd"}
    variables = {
        "authd_release_file": str(ensure_bundle("one")),
        "authd_secret_files": {"corp.secret": "a-secret-that-nobody-may-see"},
        "authd_config": {
            "team_domain": "auth.lab.test",
            "workers": 2,
            "identity_providers": [provider | {"client_secret_file": "/etc/authd/corp.secret"}],
            "applications": [{"id": "app", "name": "App", "domains": ["app.lab.test"], "policies": [policy]}],
        },
        "nginx_edge_team_domain": "auth.lab.test",
        "nginx_edge_hosts": [{"domain": "app.lab.test", "upstream": "http://127.0.0.1:3000", "app": "app"}],
        "nginx_edge_certificates": {name: {"certificate": certificate, "key": key} for name in names},
    }
    with running_machines({"edge1": 11}) as lab:
        lab["edge1"].write("/srv/application.py", APPLICATION)
        lab["edge1"].run("systemd-run", "--unit=application", "python3", "/srv/application.py")
        yield Edge(lab, variables)


# Long enough for an answer, if one came: a firewall that drops lets curl wait.
BRIEFLY = ("--max-time", "4")


def ask(edge: Edge, *options: str) -> int:
    """The status of the application's page, asked from outside."""
    resolve = f"app.lab.test:443:{edge.machine.address}"
    command = ["curl", "-sk", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", resolve]
    return int(edge.lab.as_operator(*command, *options, "https://app.lab.test/").stdout or 0)


# In the order of a machine's life; each test begins where the one before has ended.


def test_check_mode_on_a_fresh_machine_tells_everything_and_changes_nothing(edge: Edge) -> None:
    edge.machine.run("touch", "/marker")
    packages = edge.machine.shell("dpkg-query -W")
    time.sleep(1.1)
    played = edge.play("--check")
    assert played.is_good, played.output[-2000:]
    assert played.changed["edge1"] > 10
    # Python's and apt's own caches aside, which every look fills.
    caches = "-not -path '*/__pycache__/*' -not -path '/var/cache/apt/*' -not -path '/var/lib/systemd/*'"
    assert edge.machine.shell(f"find /etc /opt /usr /srv /var/lib /var/cache -newer /marker -type f {caches}") == ""
    assert edge.machine.shell("dpkg-query -W") == packages


def test_a_fresh_machine_becomes_an_edge(edge: Edge) -> None:
    played = edge.play()
    assert played.is_good, played.output[-3000:]
    assert ask(edge) == 200
    assert "a-secret-that-nobody-may-see" not in played.output
    assert edge.machine.shell("stat -c '%a %U' /etc/authd/secret /etc/authd/corp.secret") == "600 authd\n600 authd\n"


def test_check_mode_on_a_machine_that_is_as_it_should_be_finds_nothing(edge: Edge) -> None:
    played = edge.play("--check")
    assert (played.is_good, played.changed) == (True, {"edge1": 0}), played.changes


def test_every_unit_that_runs_is_hardened(edge: Edge) -> None:
    said = edge.machine.shell("systemd-analyze security --no-pager authd.service | tail -n 1")
    assert float(re.findall(r"\d+\.\d+", said)[0]) < 3.0


def test_what_was_broken_is_mended_and_what_is_foreign_stays(edge: Edge) -> None:
    machine = edge.machine
    machine.write("/etc/nginx/sites-enabled/foreign.conf", FOREIGN)
    machine.shell("systemctl stop authd; truncate -s 100 /etc/nginx/conf.d/authd.conf; rm /usr/local/bin/authd")
    machine.shell(
        "truncate -s 40 /etc/authd/authd.yml; rm /etc/nginx/authd/authd-protect.conf; chmod 644 /etc/authd/secret"
    )
    machine.shell("nft add table ip nat; nft add chain ip nat DOCKER")
    played = edge.play()
    assert played.is_good, played.output[-3000:]
    assert ask(edge) == 200
    assert machine.shell("cat /etc/nginx/sites-enabled/foreign.conf") == FOREIGN
    assert machine.shell("stat -c %a /etc/authd/secret") == "600\n"
    assert "DOCKER" in machine.shell("nft list ruleset")
    again = edge.play()
    tell(f"{again.seconds:.0f} s for a second run of the roles over one edge")
    assert (again.is_good, again.changed) == (True, {"edge1": 0}), again.changes


def test_a_foreign_site_that_is_broken_ends_in_one_sentence_and_nginx_goes_on(edge: Edge) -> None:
    machine = edge.machine
    machine.write("/etc/nginx/sites-enabled/foreign.conf", FOREIGN.replace("listen 8081;", "lisen 8081;"))
    more = [*edge.variables["nginx_edge_hosts"], {"domain": "more.lab.test", "upstream": "http://127.0.0.1:3000"}]
    tls = edge.variables["nginx_edge_certificates"]
    tls = {**tls, "more.lab.test": tls["app.lab.test"]}
    played = edge.play(roles=("nginx_edge",), nginx_edge_hosts=more, nginx_edge_certificates=tls)
    assert not played.is_good
    assert "was broken before, and not by us; mend that first, nothing was changed" in played.output
    assert 'unknown directive \\"lisen\\"' in played.output or 'unknown directive "lisen"' in played.output
    assert ask(edge) == 200
    assert machine.run("test", "-e", "/etc/nginx/sites-enabled/authd-more.lab.test.conf", check=False).returncode
    machine.write("/etc/nginx/sites-enabled/foreign.conf", FOREIGN)
    machine.run("nginx", "-t")


FOREIGN = "server {\n    listen 8081;\n    server_name foreign.example;\n    return 204;\n}\n"


def test_a_port_in_the_hands_of_another_program_is_told_before_anything_is_changed(edge: Edge) -> None:
    machine = edge.machine
    machine.shell("systemctl stop nginx; systemd-run --unit=stranger python3 -m http.server 443")
    machine.shell("until ss -ltn | grep -q ':443 '; do sleep 0.2; done")
    played = edge.play(roles=("nginx_edge",))
    assert not played.is_good
    assert "is held by another program than nginx; stop it or move it first" in played.output
    machine.shell("systemctl stop stranger")
    assert edge.play(roles=("nginx_edge",)).is_good
    assert ask(edge) == 200


def test_a_version_whose_unit_differs_says_that_it_needs_a_restart(edge: Edge) -> None:
    stage = "authd-release --json stage /var/cache/authd/authd-*.tar.gz"
    assert json.loads(edge.machine.shell(stage))["restart"] is False
    unit = "/etc/systemd/system/authd.service"
    edge.machine.shell(f"cp {unit} /srv/kept; echo '# older' >>{unit}")
    assert json.loads(edge.machine.shell(stage))["restart"] is True
    edge.machine.shell(f"mv /srv/kept {unit}; systemctl daemon-reload")


def test_it_is_all_there_after_a_reboot(edge: Edge) -> None:
    edge.machine.reboot()
    edge.machine.run("systemd-run", "--unit=application", "python3", "/srv/application.py")
    edge.machine.shell("authd ready --wait 30; mountpoint /var/cache/authd-nginx")
    wait_until(lambda: ask(edge) == 200, "the application is served")


def test_a_setting_that_needs_more_than_a_reload_costs_no_request(edge: Edge) -> None:
    """authd takes over from itself: another process, the same service all along."""
    wanted = edge.variables["authd_config"] | {"workers": 3}
    began = "systemctl show authd --property=ActiveEnterTimestampMonotonic,NRestarts"
    main = "systemctl show authd --property=MainPID"
    before, pid = edge.machine.shell(began), edge.machine.shell(main)
    # What lies there was half written by somebody; what runs took it before.
    edge.machine.shell("echo 'applications: [{' >>/etc/authd/authd.yml")
    statuses: list[int] = []
    with ThreadPoolExecutor(1) as beside:
        played = beside.submit(edge.play, roles=("authd",), authd_config=wanted)
        while not played.done():
            # Each with an `Authorization` of its own: else nginx would answer most of them with the decision of before.
            statuses.append(ask(edge, "--header", f"Authorization: Basic {len(statuses)}"))
    assert (played.result().is_good, played.result().changed) == (True, {"edge1": 2}), played.result().changes
    assert set(statuses) == {200}
    assert (edge.machine.shell(began), edge.machine.shell(main) != pid) == (before, True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"authd_release_file": "/nowhere/authd-9.tar.gz"}, "which is no bundle"),
        ({"authd_config": {"state": "redis://authd@redis"}}, "Machines that share a Redis need the same secret"),
        (
            {
                "authd_config": {"team_domain": "auth.lab.test", "worker": 3},
                "authd_secret_files": {"corp.secret": "one-that-came-too-early"},
            },
            "worker: ",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(edge: Edge, changes: dict[str, Any], told: str) -> None:
    """Nor does a secret change beside a configuration that is refused: nothing would be left to reload for."""
    before = edge.machine.shell("sha256sum /etc/authd/*")
    played = edge.play(roles=("authd",), **changes)
    assert not played.is_good
    assert told in played.output, played.output[-3000:]
    assert edge.machine.shell("sha256sum /etc/authd/*") == before


def test_a_firewall_is_taken_back_where_nobody_confirms(edge: Edge) -> None:
    """Rules that would cut off ssh for new connections: put into force as the role does it, and confirmed by nobody."""
    machine = edge.machine
    played = edge.play(
        roles=("origin_lockdown",), origin_lockdown_mode="closed", origin_lockdown_ssh_from=["203.0.113.0/24"]
    )
    assert "This would cut off ssh: you are connected from" in played.output
    played = edge.play(
        roles=("origin_lockdown",), origin_lockdown_mode="closed", origin_lockdown_ssh_from=["198.18.50.0/24"]
    )
    assert played.is_good, played.output[-3000:]
    assert ask(edge, *BRIEFLY) == 0
    machine.shell("sed s/198.18.50.0/203.0.113.0/ /etc/authd-lockdown/lockdown.nft > /srv/cut.nft")
    machine.shell("authd-lockdown apply /srv/cut.nft --confirm 8")
    connect = ["ssh", "-F", str(edge.lab.ssh_config), "-o", "ConnectTimeout=2", "edge1", "true"]
    assert edge.lab.as_operator(*connect).returncode != 0
    time.sleep(9)
    assert edge.lab.as_operator(*connect).returncode == 0
    assert "DOCKER" in machine.shell("nft add table ip nat; nft add chain ip nat DOCKER; nft list ruleset")
    again = edge.play(
        roles=("origin_lockdown",), origin_lockdown_mode="closed", origin_lockdown_ssh_from=["198.18.50.0/24"]
    )
    assert (again.is_good, again.changed["edge1"]) == (True, 0), again.output[-3000:]
    machine.reboot()
    assert ask(edge, *BRIEFLY) == 0
    said = machine.shell("systemd-analyze security --no-pager authd-lockdown.service | tail -n 1")
    assert float(re.findall(r"\d+\.\d+", said)[0]) < 3.0
