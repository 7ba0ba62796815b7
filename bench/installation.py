"""An installation to measure: one nginx worker, one authd worker, a trivial application within nginx, and sessions.

Its files lie in memory where there is room: what is measured is neither the disk of the store nor of nginx' cache.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from authd.config import load_config
from authd.sealing import load_sealer
from authd.state import open_store
from authd.worker import Worker
from bench.rows import make_session, write_rows
from tests.harness.nginx import find_free_port, running_nginx

HOST = "grafana.bench"
# Of each application but the first: 10,000 have 100,000.
RULES = 10


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the load generator finds each case, and the tokens of the sessions. `server` is authd's master."""

    port: int
    floor_port: int
    plain_port: int
    tokens: tuple[str, ...]
    server: subprocess.Popen[bytes]
    config_path: Path

    @property
    def cookie(self) -> str:
        """The first session's."""
        return f"CF_AUTHORIZATION={self.tokens[0]}"

    def find_workers(self) -> list[int]:
        """The processes of authd's workers."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


@contextlib.contextmanager
def run_installation(
    directory: Path, *, decision_cache_seconds: int = 0, applications: int = 10, sessions: int = 1, workers: int = 1
) -> Iterator[Installation]:
    """Start nginx and authd. `plain_port` is unprotected; at `floor_port` nginx itself answers the check with 204."""
    directory.mkdir()
    config_path = write_config(directory, decision_cache_seconds, applications=applications, workers=workers)
    tokens = asyncio.run(issue_tokens(config_path, sessions))
    ports = find_free_port(), find_free_port(), find_free_port()
    render = [sys.executable, "-m", "authd.cli", "nginx", "render", "--config", str(config_path)]
    render += ["--out", str(directory / "authd"), "--cache-dir", str(directory / "cache")]
    subprocess.run(render, check=True, capture_output=True)
    serve = [sys.executable, "-m", "authd.cli", "serve", "--config", str(config_path)]
    with (directory / "authd.log").open("wb") as log, subprocess.Popen(serve, stderr=log) as authd:
        try:
            _wait_for(directory / "authd.sock", authd)
            with running_nginx(directory, _render_http(directory, *ports), port=ports[0]):
                yield Installation(*ports, tokens, authd, config_path)
        finally:
            authd.terminate()


def write_config(directory: Path, decision_cache_seconds: int = 0, *, applications: int = 1, workers: int = 1) -> Path:
    """`authd.yml` and its secret in this directory, with a store in SQLite. Raises nothing of authd's."""
    secret = directory / "secret"
    secret.write_text(base64.b64encode(os.urandom(32)).decode())
    secret.chmod(0o600)
    config = {
        "team_domain": "auth.bench",
        "listen": f"unix:{directory}/authd.sock",
        "state": f"sqlite:{directory}/authd.db",
        "secret_file": str(secret),
        "decision_cache_seconds": decision_cache_seconds,
        "workers": workers,
        "identity_providers": [{"id": "corp", "type": "oidc", "issuer": "http://127.0.0.1:9", "client_id": "bench"}],
        "applications": [_describe_application(number) for number in range(applications)],
    }
    path = directory / "authd.yml"
    path.write_text(yaml.dump(config, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    return path


def _describe_application(number: int) -> dict[str, Any]:
    """The first is the one that is measured. The others have RULES rules each, and every third one a wildcard host."""
    if number == 0:
        staff = {"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}
        return {"id": "grafana", "domains": [HOST], "policies": [staff]}
    people = [{"email": f"person-{number}-{each}@example.com"} for each in range(RULES - 1)]
    policy = {"name": "Some", "decision": "allow", "include": [*people, {"email_domain": "example.com"}]}
    host = f"*.team-{number}.bench" if number % 3 == 0 else f"app-{number}.bench"
    return {"id": f"app-{number}", "domains": [host], "policies": [policy]}


async def issue_tokens(config_path: Path, count: int) -> tuple[str, ...]:
    """Sessions in the store and a token of each, as logins would leave them."""
    config = load_config(config_path)
    sealer = load_sealer(Path(config.secret_file))
    # The schema is authd's own.
    await open_store(config.state).close()
    write_rows(Path(config.state.partition(":")[2]), sealer, count)
    worker = Worker(config, store=open_store(config.state), sealer=sealer)
    await worker.start()
    audience = worker.policies().index.get_application("grafana").aud
    sessions = map(make_session, range(count))
    tokens = tuple(
        worker.tokens.issue_application_token(each, audience=audience, expires_at=each.expires_at, policy_id=None)
        for each in sessions
    )
    await worker.store.close()
    return tokens


def _wait_for(socket_path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not socket_path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"authd did not start: {(socket_path.parent / 'authd.log').read_text()[-500:]}")
        time.sleep(0.05)


def _render_http(directory: Path, port: int, floor_port: int, plain_port: int) -> str:
    application = f"127.0.0.1:{find_free_port()}"
    return f"""
    include authd/authd-http.conf;
    # As authd-server.conf has it, for all: the application, too, is sent more than 1k.
    client_header_buffer_size 4k;
    upstream app {{ server {application}; keepalive 16; }}
    server {{ listen {application}; location / {{ return 200 "ok"; }} }}
    server {{
        listen 127.0.0.1:{plain_port};
        location / {{ proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://app; }}
    }}
    server {{
        listen 127.0.0.1:{floor_port};
        location = /check {{ internal; return 204; }}
        location / {{
            auth_request /check;
            proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://app;
        }}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name {HOST};
        include authd/authd-server.conf;
        location / {{
            set $authd_app grafana;
            include authd/authd-protect.conf;
            include authd/authd-identity.conf;
            proxy_pass http://app;
        }}
    }}"""
