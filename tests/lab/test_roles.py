"""The roles on a machine that really boots: fresh, again, upgraded under load, and over what was broken before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.figures import tell
from tests.lab.machines import Lab, Machine, running_machines
from tests.release.bundles import ensure_bundle, version_of

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".cache/ansible"
REQUESTS = 10_000
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

    def play(self, *options: str, roles: tuple[str, ...] = ROLES, **changes: Any) -> Played:
        """Run the roles; `changes` replace variables."""
        directory = self.lab.directory / "roles"
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / "variables.json").write_text(json.dumps({**self.variables, **changes}))
        play = {"hosts": "edge1", "roles": [f"authd.authd.{role}" for role in roles]}
        (directory / "play.json").write_text(json.dumps([play]))
        variables = {
            "ANSIBLE_COLLECTIONS_PATH": str(ENVIRONMENT / "collections"),
            "ANSIBLE_HOME": str(directory),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
            "ANSIBLE_SSH_ARGS": f"-F {self.lab.ssh_config} -o ControlMaster=auto -o ControlPersist=30s",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        command = [str(ENVIRONMENT / "bin/python"), str(ENVIRONMENT / "bin/ansible-playbook"), "-i", "edge1,"]
        command += ["-e", f"@{directory / 'variables.json'}", *options, str(directory / "play.json")]
        began = time.monotonic()
        done = self.lab.as_operator(*command, environment={**os.environ, **variables})
        return Played(done.stdout + done.stderr, time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Played:
    output: str
    seconds: float

    def count(self, what: str) -> int:
        return int(re.findall(rf"^edge1 .*{what}=(\d+)", self.output, re.MULTILINE)[0])

    @property
    def is_good(self) -> bool:
        return self.count("failed") == self.count("unreachable") == 0


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    names = ["auth.lab.test", "app.lab.test"]
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"), names)
    policy = {"name": "Everybody", "decision": "bypass", "include": [{"everyone": True}]}
    provider = {"id": "corp", "type": "oidc", "name": "Corp", "issuer": "https://idp.lab.test", "client_id": "authd"}
    variables = {
        "authd_release_file": str(ensure_bundle("one")),
        "authd_secret_files": {"corp.secret": "a-secret-that-nobody-may-see"},
        "authd_config": {
            "team_domain": "auth.lab.test",
            "workers": 2,
            # So that each request reaches authd.
            "decision_cache_seconds": 0,
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


def make_certificate(directory: Path, names: list[str]) -> tuple[str, str]:
    alternatives = ",".join(f"DNS:{name}" for name in names)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "9",
    ]
    command += ["-subj", "/CN=lab", "-addext", f"subjectAltName={alternatives}"]
    subprocess.run([*command, "-keyout", directory / "key", "-out", directory / "crt"], check=True, capture_output=True)
    return (directory / "crt").read_text(), (directory / "key").read_text()


def ask(edge: Edge) -> int:
    """The status of the application's page, asked from outside."""
    resolve = f"app.lab.test:443:{edge.machine.address}"
    command = ["curl", "-sk", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", resolve]
    return int(edge.lab.as_operator(*command, "https://app.lab.test/").stdout or 0)


# In the order of a machine's life; each test begins where the one before has ended.


def test_check_mode_on_a_fresh_machine_tells_everything_and_changes_nothing(edge: Edge) -> None:
    edge.machine.run("touch", "/marker")
    packages = edge.machine.shell("dpkg-query -W")
    time.sleep(1.1)
    played = edge.play("--check")
    assert played.is_good, played.output[-2000:]
    assert played.count("changed") > 10
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


@pytest.mark.parametrize("option", [(), ("--check",)], ids=["run", "check"])
def test_a_second_run_changes_nothing(edge: Edge, option: tuple[str, ...]) -> None:
    played = edge.play(*option)
    assert (played.is_good, played.count("changed")) == (True, 0), played.output[-3000:]
    tell(f"{played.seconds:.0f} s for a second run of the roles over one edge ({' '.join(option) or 'no option'})")


def test_every_unit_that_runs_is_hardened(edge: Edge) -> None:
    said = edge.machine.shell("systemd-analyze security --no-pager authd.service | tail -n 1")
    assert float(re.findall(r"\d+\.\d+", said)[0]) < 3.0


def test_an_upgrade_and_the_way_back_under_load_lose_no_request(edge: Edge) -> None:
    two = ensure_bundle("two")
    with visitors(edge) as statuses:
        wait_for(statuses, REQUESTS // 10)
        played = edge.play(roles=("authd",), authd_release_file=str(two))
        assert played.is_good, played.output[-3000:]
        assert version_of(two) in edge.machine.run("authd", "ready").stdout
        edge.machine.run("authd-release", "rollback")
        assert version_of(two) not in edge.machine.run("authd", "ready").stdout
        wait_for(statuses, REQUESTS)
    assert statuses.keys() == {200}, statuses


def test_a_version_that_does_not_start_is_not_taken(edge: Edge, tmp_path: Path) -> None:
    """It is installed, reads the configuration, and then dies in the middle of its start."""
    with visitors(edge) as statuses:
        wait_for(statuses, 100)
        edge.machine.shell(BREAK_THE_OTHER_VERSION)
        done = edge.machine.run("authd-release", "rollback", check=False)
        asked = sum(statuses.values())
        wait_for(statuses, asked + 200)
    assert (done.returncode, "was not taken into service" in done.stderr) == (1, True), done.stderr
    assert statuses.keys() == {200}, statuses
    assert version_of(ensure_bundle("one")) in edge.machine.run("authd", "ready").stdout
    edge.machine.shell(MEND_THE_OTHER_VERSION)


OTHER = "$(dirname /opt/authd/previous/lib/python3*/site-packages/authd/serve.py)/serve.py"
BREAK_THE_OTHER_VERSION = f'cp {OTHER} /srv/kept.py; echo "raise SystemExit(3)" >> {OTHER}'
MEND_THE_OTHER_VERSION = f"cp /srv/kept.py {OTHER}"


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
    assert edge.play().count("changed") == 0


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


def test_it_is_all_there_after_a_reboot(edge: Edge) -> None:
    edge.machine.reboot()
    edge.machine.run("systemd-run", "--unit=application", "python3", "/srv/application.py")
    edge.machine.shell("authd ready --wait 30; mountpoint /var/cache/authd-nginx")
    deadline = time.monotonic() + 20
    while ask(edge) != 200:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"authd_release_file": "/nowhere/authd-9.tar.gz"}, "which is no bundle"),
        ({"authd_config": {"state": "redis://authd@redis"}}, "Machines that share a Redis need the same secret"),
        ({"authd_config": {"team_domain": "auth.lab.test", "worker": 3}}, "worker: "),
    ],
)
def test_what_cannot_be_done_is_one_sentence(edge: Edge, changes: dict[str, Any], told: str) -> None:
    before = edge.machine.shell("sha256sum /etc/authd/authd.yml")
    played = edge.play(roles=("authd",), **changes)
    assert not played.is_good
    assert told in played.output, played.output[-3000:]
    assert edge.machine.shell("sha256sum /etc/authd/authd.yml") == before


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
    assert ask(edge) == 0
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
    assert (again.is_good, again.count("changed")) == (True, 0), again.output[-3000:]
    machine.reboot()
    assert ask(edge) == 0
    said = machine.shell("systemd-analyze security --no-pager authd-lockdown.service | tail -n 1")
    assert float(re.findall(r"\d+\.\d+", said)[0]) < 3.0


class visitors:  # noqa: N801 - used as a function
    """Four visitors who keep asking over connections of their own, until the block ends."""

    def __init__(self, edge: Edge) -> None:
        self._statuses: Counter[int] = Counter()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(edge,)) for _ in range(4)]

    def __enter__(self) -> Counter[int]:
        for thread in self._threads:
            thread.start()
        return self._statuses

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, edge: Edge) -> None:
        """curl asks two hundred times over one connection, then anew."""
        resolve = f"app.lab.test:443:{edge.machine.address}"
        command = [
            "curl",
            "-sk",
            "-m",
            "60",
            "--resolve",
            resolve,
            "-w",
            "\\n%{http_code}\\n",
            "-Z",
            "--parallel-max",
            "1",
        ]
        while not self._is_over.is_set():
            done = edge.lab.as_operator(*command, "https://app.lab.test/?n=[1-100]")
            found = re.findall(r"^(\d{3})$", done.stdout, re.MULTILINE)
            self._statuses.update(map(int, found))


def wait_for(statuses: Counter[int], count: int) -> None:
    deadline = time.monotonic() + 400
    while sum(statuses.values()) < count:
        assert time.monotonic() < deadline, statuses
        time.sleep(0.1)
