"""An installation to measure: one nginx worker, one authd worker, a trivial application within nginx, one session."""

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

import yaml

from authd.config import load_config
from authd.model import Identity, Session
from authd.sealing import load_sealer
from authd.state import open_store
from authd.worker import Worker, new_id
from tests.harness.nginx import find_free_port, running_nginx

HOST = "grafana.bench"
SESSION_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the load generator finds each case, and the session it uses."""

    port: int
    floor_port: int
    plain_port: int
    token: str


@contextlib.contextmanager
def run_installation(directory: Path, *, decision_cache_seconds: int) -> Iterator[Installation]:
    """Start nginx and authd. `plain_port` is unprotected; at `floor_port` nginx itself answers the check with 204."""
    directory.mkdir()
    config_path = write_config(directory, decision_cache_seconds)
    token = asyncio.run(_issue_token(config_path))
    ports = find_free_port(), find_free_port(), find_free_port()
    render = [sys.executable, "-m", "authd.cli", "nginx", "render", "--config", str(config_path)]
    render += ["--out", str(directory / "authd"), "--cache-dir", str(directory / "cache")]
    subprocess.run(render, check=True, capture_output=True)
    serve = [sys.executable, "-m", "authd.cli", "serve", "--config", str(config_path)]
    with (directory / "authd.log").open("wb") as log, subprocess.Popen(serve, stderr=log) as authd:
        try:
            _wait_for(directory / "authd.sock", authd)
            with running_nginx(directory, _render_http(directory, *ports), port=ports[0]):
                yield Installation(*ports, token)
        finally:
            authd.terminate()


def write_config(directory: Path, decision_cache_seconds: int = 0) -> Path:
    """`authd.yml` and its secret in this directory, for one application and a store in SQLite."""
    secret = directory / "secret"
    secret.write_text(base64.b64encode(os.urandom(32)).decode())
    secret.chmod(0o600)
    allow = {"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}
    config = {
        "team_domain": "auth.bench",
        "listen": f"unix:{directory}/authd.sock",
        "state": f"sqlite:{directory}/authd.db",
        "secret_file": str(secret),
        "decision_cache_seconds": decision_cache_seconds,
        "identity_providers": [{"id": "corp", "type": "oidc", "issuer": "http://127.0.0.1:9", "client_id": "bench"}],
        "applications": [{"id": "grafana", "domains": [HOST], "policies": [allow]}],
    }
    path = directory / "authd.yml"
    path.write_text(yaml.safe_dump(config))
    return path


async def _issue_token(config_path: Path) -> str:
    """A session in the store and its token, as a login would leave them."""
    config = load_config(config_path)
    worker = Worker(config, store=open_store(config.state), sealer=load_sealer(Path(config.secret_file)))
    await worker.start()
    now = int(time.time())
    identity = Identity("bench", "corp", "bench", "bench@example.com", None, None, ("staff",), ("pwd",), {}, now)
    session = Session(new_id(16), identity, now, now + SESSION_SECONDS, "127.0.0.1", "bench")
    await worker.sessions.add(session)
    application = worker.policies().index.get_application("grafana")
    token = worker.tokens.issue_application_token(
        session, audience=application.aud, expires_at=session.expires_at, policy_id=None
    )
    await worker.store.close()
    return token


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
