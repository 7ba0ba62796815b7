"""Through the SSH tunnel with four connectors against the direct path, in one run: `python -m bench.tunnel`.

Client, edge and origin are network namespaces of this machine, so the ratio is one of processor time. Needs root,
nginx, openssh and wrk; says so and ends with 0 where they lack.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

from tests.tunnel.lab import (
    CLIENT,
    EDGE,
    ORIGIN,
    Lab,
    add_origin,
    make_key,
    running_lab,
    start_connector,
    start_edge,
    wait_until,
    write_origin,
)

RESULTS = Path(__file__).parent / "results"
# What must hold (issue 5).
LEAST_RATIO = 0.33
CONNECTIONS = 32


def main() -> int:
    """Print a line and write the JSON beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--assert", dest="must_hold", action="store_true", help="fail where the ratio does not hold")
    options = parser.parse_args()
    found = measure_tunnel(options.rounds)
    if not found:
        print("tunnel: not measured; needs root, `ip netns`, nginx, sshd, ssh and wrk")
        return 0
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "tunnel.json").write_text(json.dumps(found, indent=1) + "\n")
    print(render_line(found))
    return int(options.must_hold and not holds(found))


def measure_tunnel(rounds: int) -> dict[str, Any]:
    """Requests a second each way and their ratio, medians over the rounds; empty where it cannot be measured."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "nginx", "sshd", "ssh", "wrk", "systemd-socket-activate"))):
        return {}
    with running_lab() as lab:
        _start(lab)
        pairs = [(_load(lab, 8081), _load(lab, 80)) for _ in range(rounds)]
    return {
        "direct_per_second": round(median(direct for direct, _ in pairs)),
        "tunnel_per_second": round(median(tunnel for _, tunnel in pairs)),
        "ratio": round(median(tunnel / direct for direct, tunnel in pairs), 3),
    }


def holds(found: dict[str, Any]) -> bool:
    """Whether the tunnel carries what it must."""
    return not found or bool(found["ratio"] >= LEAST_RATIO)


def render_line(found: dict[str, Any]) -> str:
    """The result in one sentence."""
    return (
        f"tunnel: {found['tunnel_per_second']:,} requests/s through four SSH connections, "
        f"{found['direct_per_second']:,} directly: {found['ratio']:.2f} (at least {LEAST_RATIO})"
    )


def _start(lab: Lab) -> None:
    make_key(lab.edge / "host_ed25519")
    add_origin(lab, "app1")
    write_origin(lab, "app1")
    direct = f"""upstream direct {{ server {lab.address(ORIGIN)}:8080; keepalive 64; }}
        server {{ listen {lab.address(EDGE)}:8081; location / {{
            proxy_pass http://direct; proxy_http_version 1.1; proxy_set_header Connection "";
        }} }}"""
    start_edge(lab, http=direct)
    # The direct path needs the open port that the tunnel is there to save.
    lab.run(ORIGIN, "nft", "flush ruleset")
    _start_application(lab)
    for number in range(1, 5):
        start_connector(lab, ORIGIN, "app1", number)
    wait_until(lambda: lab.get().startswith("xxx"), seconds=20)
    wait_until(lambda: lab.status().get("app1", {}).get("connections") == 4, seconds=20)


def _start_application(lab: Lab) -> None:
    here = lab.directory / "application"
    here.mkdir()
    temporary = " ".join(
        f"{kind}_temp_path {here}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (here / "nginx.conf").write_text(f"""daemon off; pid {here}/pid; error_log {here}/error.log;
        events {{ worker_connections 2048; }}
        http {{ access_log off; {temporary} keepalive_requests 1000000;
            server {{ listen 8080; location / {{ return 200 "{"x" * 1024}"; }} }} }}""")
    lab.start(ORIGIN, "nginx", "-c", str(here / "nginx.conf"), log="application.log")


def _load(lab: Lab, port: int) -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d3s", f"http://{lab.address(EDGE)}:{port}/"]
    done = lab.run(CLIENT, *command)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"answers were errors; the figure would mean nothing: {done.stdout}")
    return float(rate[1])


if __name__ == "__main__":
    sys.exit(main())
