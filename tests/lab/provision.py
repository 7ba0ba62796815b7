"""Deploys the estate: edges by the playbook, the rest by hand as docs/redis.md and tunnels.md tell an operator to."""

from __future__ import annotations

import base64
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.harness.redis import PASSWORD, read_documented_user
from tests.lab.estate import (
    APPLICATION_PORT,
    CLIENT_SECRET,
    EDGES,
    MASTER,
    ORIGINS,
    SERVED_BY,
    STORES,
    TEAM,
    render_authd_config,
)
from tests.lab.machines import Lab, Machine
from tests.lab.network import NETWORK, OPERATOR
from tests.lab.playbook import Run, run_playbook

_APPLICATION_UNIT = """[Unit]
After=network-online.target
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/application.py {name} {address}
DynamicUser=yes
[Install]
WantedBy=multi-user.target
"""
_ADMINISTRATOR = "a-password-of-the-lab-alone"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the operator has at hand: certificates, and the secret that both edges share."""

    lab: Lab
    certificates: Path
    secret: str

    def deploy(self, bundle: Path) -> None:
        """Every host, as far as they do not need each other at the same time. Raises LabError."""
        with ThreadPoolExecutor(3) as at_once:
            list(at_once.map(lambda name: deploy_store(self.lab, name), STORES))
            list(at_once.map(self._prepare_edge, EDGES))
            list(at_once.map(lambda name: deploy_origin(self.lab, self.lab[name]), ORIGINS))
        self.run(bundle, ["authd"])
        deploy_tunnel(self.lab)
        self.run(bundle, ["nginx_edge"])

    def run(self, bundle: Path, roles: Sequence[str] = ("authd", "nginx_edge"), *options: str) -> Run:
        """The playbook over both edges. Raises LabError."""
        return run_playbook(self.lab, {edge: {} for edge in EDGES}, roles, self.variables(bundle), *options)

    def variables(self, bundle: Path) -> dict[str, Any]:
        """The inventory's."""
        sentinels = ",".join(f"{self.lab[name].address}:26379" for name in STORES)
        state = f"redis+sentinel://authd@{sentinels}/{MASTER}?password_file=/etc/authd/redis.password"
        pair = {"certificate": self._read("server.pem"), "key": self._read("server.key")}
        return {
            "authd_release_file": str(bundle),
            "authd_config": yaml.safe_load(render_authd_config(state)),
            "authd_secret_files": {"corp.secret": CLIENT_SECRET, "redis.password": PASSWORD},
            "authd_secret": self.secret,
            "nginx_edge_team_domain": TEAM,
            "nginx_edge_certificates": dict.fromkeys([TEAM, *SERVED_BY], pair),
            "nginx_edge_http_includes": ["authd/authd-tunnels.conf"],
            "nginx_edge_hosts": [
                {"domain": host, "app": host.partition(".")[0], "upstream": f"http://{self._upstream(origin)}"}
                for host, origin in SERVED_BY.items()
            ],
        }

    def _upstream(self, origin: str) -> str:
        return "authd_tunnel_wiki" if origin == "origin2" else f"{self.lab[origin].address}:{APPLICATION_PORT}"

    def _prepare_edge(self, name: str) -> None:
        """What no role does: the provider's authority is nobody's the machine knows. And the firewall."""
        machine = self.lab[name]
        machine.write("/usr/local/share/ca-certificates/lab.crt", self._read("ca.pem"))
        machine.shell("update-ca-certificates")
        _lock(self.lab, machine, ["tcp dport { 80, 443, 7844 } accept", *_between_stores(self.lab)])

    def _read(self, name: str) -> str:
        return (self.certificates / name).read_text()


def make_secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def deploy_store(lab: Lab, name: str) -> None:
    """Redis with a sentinel, in docs/redis.md's settings; the machine `redis` begins as the master."""
    machine, master = lab[name], lab["redis"].address
    _install(machine, "redis-server", "redis-sentinel")
    machine.shell("systemctl stop redis-server redis-sentinel")
    lines = ["bind 0.0.0.0", "dir /var/lib/redis", "maxmemory-policy noeviction", "appendonly yes"]
    lines += ["appendfsync everysec", "min-replicas-to-write 1", "min-replicas-max-lag 10"]
    lines += [f"user default on >{_ADMINISTRATOR} ~* &* +@all", "user " + " ".join(read_documented_user())]
    lines += [f"masterauth {_ADMINISTRATOR}", f"replica-announce-ip {machine.address}"]
    if name != "redis":
        lines.append(f"replicaof {master} 6379")
    machine.write("/etc/redis/redis.conf", "\n".join(lines) + "\n", 0o640)
    watched = [f"monitor {MASTER} {master} 6379 2", f"auth-pass {MASTER} {_ADMINISTRATOR}"]
    watched += [f"down-after-milliseconds {MASTER} 2000", f"failover-timeout {MASTER} 10000"]
    watched += [f"announce-ip {machine.address}"]
    own = ["port 26379", "bind 0.0.0.0", "protected-mode no", "dir /var/lib/redis"]
    sentinel = [*own, *(f"sentinel {each}" for each in watched)]
    machine.write("/etc/redis/sentinel.conf", "\n".join(sentinel) + "\n", 0o640)
    machine.shell("chown redis: /etc/redis/*.conf; systemctl enable --now redis-server redis-sentinel")
    if name not in EDGES:
        _lock(lab, machine, _between_stores(lab))


def deploy_origin(lab: Lab, machine: Machine) -> None:
    """The application; origin1 opens its port for the edges, origin2 none for anybody."""
    is_open = machine.name == "origin1"
    machine.write("/usr/local/lib/application.py", Path(__file__).with_name("application.py").read_text())
    unit = _APPLICATION_UNIT.format(name=machine.name, address="0.0.0.0" if is_open else "127.0.0.1")
    machine.write("/etc/systemd/system/application.service", unit)
    machine.shell("systemctl daemon-reload; systemctl enable --now application")
    edges = ", ".join(lab[edge].address for edge in EDGES)
    _lock(lab, machine, [f"ip saddr {{ {edges} }} tcp dport {APPLICATION_PORT} accept"] if is_open else [])


def deploy_tunnel(lab: Lab) -> None:
    """origin2 dials out to both edges; then nginx of each edge knows where everything is."""
    origin = lab["origin2"]
    _install(origin, "openssh-client")
    origin.shell("""
        install -d -m 0755 /etc/authd-tunnel
        ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/authd-tunnel/id_ed25519""")
    public = (origin.root / "etc/authd-tunnel/id_ed25519.pub").read_text().strip()
    for edge in EDGES:
        lab[edge].shell(f"""
            install -d -m 0755 /etc/authd-tunnel /etc/nginx/authd
            ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/authd-tunnel/host_ed25519
            authd tunnel add-origin wiki --public-key '{public}'
            authd tunnel render edge --out /etc/authd-tunnel/rendered --program /usr/local/bin/authd
            cd /etc/authd-tunnel/rendered
            cp sshd_config /etc/authd-tunnel/
            cp authd-tunnel-edge.socket authd-tunnel-edge@.service authd-tunnel-watch.service /etc/systemd/system/
            cp authd-tunnel.tmpfiles /etc/tmpfiles.d/authd-tunnel.conf
            cp authd-tunnels.conf authd-tunnel-proxy.conf /etc/nginx/authd/
            systemctl daemon-reload
            systemctl enable --now authd-tunnel-edge.socket authd-tunnel-watch.service""")
    rendered = lab.directory / "rendered"
    command = [
        sys.executable,
        "-m",
        "authd.cli",
        "tunnel",
        "render",
        "origin",
        "--out",
        str(rendered),
        "--name",
        "wiki",
    ]
    for edge in EDGES:
        key = (lab[edge].root / "etc/authd-tunnel/host_ed25519.pub").read_text().strip()
        command += ["--edge", f"{edge}={lab[edge].address},{key}"]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copytree(rendered, origin.root / "etc/authd-tunnel", dirs_exist_ok=True)
    units = " ".join(f"authd-tunnel@{edge}-{number}" for edge in EDGES for number in range(1, 5))
    origin.shell(f"""
        chmod 0755 /etc/authd-tunnel
        cd /etc/authd-tunnel
        mkdir -p /etc/sysusers.d
        cp authd-tunnel.sysusers /etc/sysusers.d/authd-tunnel.conf
        systemd-sysusers
        cp authd-tunnel@.service /etc/systemd/system/
        systemctl daemon-reload
        systemctl enable --now {units}""")


def _install(machine: Machine, *packages: str) -> None:
    machine.shell(
        f"apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy install {' '.join(packages)}", seconds=300
    )


def _between_stores(lab: Lab) -> list[str]:
    stores = ", ".join(lab[name].address for name in STORES)
    return [f"ip saddr {{ {stores} }} tcp dport {{ 6379, 26379 }} accept"]


def _lock(lab: Lab, machine: Machine, more: list[str]) -> None:
    """Nothing comes in but the operator's ssh, and what is named."""
    rules = [
        "type filter hook input priority 0; policy drop;",
        'iif "lo" accept',
        "ct state established,related accept",
    ]
    rules += [f"ip saddr {NETWORK}.{OPERATOR} tcp dport 22 accept", *more]
    text = "flush ruleset\ntable inet host {\nchain input {\n" + "\n".join(rules) + "\n}\n}\n"
    machine.write("/etc/nftables.conf", text)
    machine.shell("nft -c -f /etc/nftables.conf; systemctl enable --now nftables; nft -f /etc/nftables.conf")
