"""Deploys the estate by hand, as docs/install.md, redis.md and tunnels.md tell an operator to."""

from __future__ import annotations

import base64
import secrets
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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

_SITE = """
server {{
    listen 443 ssl http2;
    server_name {host};
    ssl_certificate /etc/nginx/tls/server.pem;
    ssl_certificate_key /etc/nginx/tls/server.key;
    {body}
}}
"""
_PROTECTED = """include authd/authd-server.conf;
    location / {{
        set $authd_app {id};
        include authd/authd-protect.conf;
        include authd/authd-identity.conf;
        {more}
        proxy_pass http://{upstream};
    }}"""
_APPLICATION_UNIT = """[Unit]
After=network-online.target
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/application.py {name} {address}
DynamicUser=yes
[Install]
WantedBy=multi-user.target
"""
_ADMINISTRATOR = "a-password-of-the-lab-alone"


def deploy(lab: Lab, certificates: Path, wheels: Path) -> None:
    """Every host, as far as they do not need each other at the same time. Raises LabError."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode() + "\n"
    with ThreadPoolExecutor(3) as at_once:
        list(at_once.map(lambda name: deploy_store(lab, name), STORES))
        list(at_once.map(lambda name: deploy_edge(lab, lab[name], certificates, wheels, secret), EDGES))
        list(at_once.map(lambda name: deploy_origin(lab, lab[name]), ORIGINS))
    deploy_tunnel(lab)


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


def deploy_edge(lab: Lab, machine: Machine, certificates: Path, wheels: Path, secret: str) -> None:
    """nginx, authd and the sshd of tunnels."""
    _install(machine, "nginx-light", "python3-venv")
    install_release(machine, wheels, "first")
    machine.shell("""
        adduser --quiet --system --group --home /var/lib/authd --no-create-home authd
        install -d -o root -g authd -m 0750 /etc/authd
        install -d -o www-data -g www-data -m 0700 /var/cache/authd-nginx
        install -d -m 0755 /etc/authd-tunnel
        ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/authd-tunnel/host_ed25519
        rm /etc/nginx/sites-enabled/default""")
    sentinels = ",".join(f"{lab[name].address}:26379" for name in STORES)
    state = f"redis+sentinel://authd@{sentinels}/{MASTER}?password_file=/etc/authd/redis.password"
    machine.write("/etc/authd/authd.yml", render_authd_config(state))
    for name, content in (("secret", secret), ("corp.secret", CLIENT_SECRET), ("redis.password", PASSWORD)):
        machine.write(f"/etc/authd/{name}", content, 0o600)
    for source, target in (
        ("ca.pem", "/usr/local/share/ca-certificates/lab.crt"),
        ("server.pem", "/etc/nginx/tls/server.pem"),
        ("server.key", "/etc/nginx/tls/server.key"),
    ):
        machine.write(target, (certificates / source).read_text(), 0o600 if source.endswith(".key") else 0o644)
    machine.write("/etc/nginx/conf.d/authd.conf", "include authd/authd-http.conf;\ninclude authd/authd-default.conf;\n")
    machine.shell("""
        update-ca-certificates
        chown authd: /etc/authd/secret /etc/authd/*.secret /etc/authd/redis.password
        authd check-config
        authd nginx render --out /etc/nginx/authd
        install -m 0644 /opt/authd/current/lib/python3*/site-packages/authd/systemd/authd.service /etc/systemd/system/
        systemctl daemon-reload
        systemctl enable --now authd""")
    _lock(lab, machine, ["tcp dport { 80, 443, 7844 } accept", *_between_stores(lab)])


def install_release(machine: Machine, wheels: Path, version: str) -> None:
    """Beside what is there; /opt/authd/current then leads to it."""
    shutil.copytree(wheels, machine.root / f"srv/wheels-{version}")
    machine.shell(f"""
        python3 -m venv /opt/authd/releases/{version}
        /opt/authd/releases/{version}/bin/pip install --quiet --no-index --no-deps /srv/wheels-{version}/*.whl
        ln -sfn releases/{version} /opt/authd/current
        ln -sf /opt/authd/current/bin/authd /usr/local/bin/authd""")


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
            authd tunnel add-origin wiki --public-key '{public}'
            authd tunnel render edge --out /etc/authd-tunnel/rendered --program /usr/local/bin/authd
            cd /etc/authd-tunnel/rendered
            cp sshd_config /etc/authd-tunnel/
            cp authd-tunnel-edge.socket authd-tunnel-edge@.service authd-tunnel-watch.service /etc/systemd/system/
            cp authd-tunnel.tmpfiles /etc/tmpfiles.d/authd-tunnel.conf
            cp authd-tunnels.conf authd-tunnel-proxy.conf /etc/nginx/authd/
            systemctl daemon-reload
            systemctl enable --now authd-tunnel-edge.socket authd-tunnel-watch.service""")
        _write_sites(lab, lab[edge])
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


def _write_sites(lab: Lab, machine: Machine) -> None:
    include = "include authd/authd-tunnels.conf;\n"
    sites = [_SITE.format(host=TEAM, body="include authd/authd-team.conf;")]
    for host, origin in SERVED_BY.items():
        is_direct = origin == "origin1"
        upstream = f"{lab[origin].address}:{APPLICATION_PORT}" if is_direct else "authd_tunnel_wiki"
        more = "" if is_direct else "include authd/authd-tunnel-proxy.conf;"
        body = _PROTECTED.format(id=host.partition(".")[0], upstream=upstream, more=more)
        sites.append(_SITE.format(host=host, body=body))
    machine.write("/etc/nginx/sites-enabled/estate", include + "".join(sites))
    machine.shell("""
        sed -i 's/worker_connections 768/worker_connections 4096/' /etc/nginx/nginx.conf
        nginx -t
        systemctl reload nginx""")


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
