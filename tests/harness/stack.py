"""The whole of it: nginx of Debian, `authd serve`, the certified identity provider, and applications that count what
reaches them.

    with start_stack(directory) as stack:
        browser = stack.log_in(stack.url("grafana.test"), "alice")

Hosts are names on loopback over TLS. The public port is nginx', so every configured domain follows the team's.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.demo.certificates import ensure_certificates
from tests.harness.browser import Answer, Browser
from tests.harness.echo import EchoApplication
from tests.harness.idp import IdentityProvider, Person, start_identity_provider
from tests.harness.memory import find_memory_directory
from tests.harness.nginx import Nginx, find_free_port, running_nginx

ALICE = Person("alice", {"email": "alice@example.com", "email_verified": True, "groups": ["staff", "admins"]})
MALLORY = Person("mallory", {"email": "mallory@example.org", "email_verified": True, "groups": ["guests"]})
TEAM = "auth.test"
_START_SECONDS = 60

DEFAULT_APPLICATIONS: list[dict[str, Any]] = [
    {
        "id": "grafana",
        "name": "Grafana",
        "domains": ["grafana.test"],
        "policies": [{"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}],
    },
    {
        "id": "wiki",
        "name": "Wiki",
        "domains": ["wiki.other.example"],
        "policies": [{"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}],
    },
]


@dataclass(slots=True)
class Stack:
    """A running installation. `authd` may be stopped and started again by the tests."""

    directory: Path
    port: int
    nginx: Nginx
    provider: IdentityProvider
    application: EchoApplication
    config: dict[str, Any]
    program: Sequence[str] = ("authd.cli", "serve")
    authd: subprocess.Popen[bytes] | None = field(default=None)
    workers: int = field(default=1)

    def url(self, host: str, path: str = "/") -> str:
        """The public address of a path on a host."""
        return f"https://{host}:{self.port}{path}"

    def browser(self, **options: Any) -> Browser:
        """A browser without any cookie."""
        return Browser(self.port, **options)

    def log_in(self, url: str, account: str, browser: Browser | None = None) -> Browser:
        """Go to a protected page, through the provider's pages, and back. Fails unless the page appears."""
        browser = browser or self.browser()
        answer = self.try_log_in(url, account, browser)
        assert answer.status == 200, (answer.status, answer.url, answer.text[:500])
        return browser

    def try_log_in(self, url: str, account: str, browser: Browser) -> Answer:
        """The same, with whatever comes out of it."""
        answer = browser.visit(url)
        if answer.status == 302 and answer.location.startswith(self.provider.issuer):
            return browser.visit(self.provider.log_in(answer.location, account))
        return answer

    def write_config(self, **changes: Any) -> None:
        """Replace settings in the file. In force after `reload` or a restart."""
        self.config = {**self.config, **changes}
        (self.directory / "authd.yml").write_text(yaml.safe_dump(self.config))

    def start_authd(self) -> None:
        """Start `authd serve` and wait until it is ready, with all its workers."""
        log = (self.directory / "authd.log").open("ab")
        command = [sys.executable, "-m", *self.program, "--config", str(self.directory / "authd.yml")]
        self.authd = subprocess.Popen(command, stderr=log, stdout=log)
        log.close()
        deadline = time.monotonic() + _START_SECONDS
        while self.ask_authd("/readyz", self.listener_headers) != 200:
            assert self.authd.poll() is None, f"authd ended:\n{self.log_text[-3000:]}"
            assert time.monotonic() < deadline, f"authd is not ready:\n{self.log_text[-3000:]}"
            time.sleep(0.05)
        self.workers = self.config.get("workers", 1)
        self.wait_for_workers()

    def wait_for_workers(self) -> None:
        """Wait until as many workers as were asked for at start answer: one that was killed has a successor by then."""
        assert self.authd is not None
        deadline = time.monotonic() + _START_SECONDS
        while True:
            answering = {event["pid"] for event in self.events("worker.started")}
            if len(answering.intersection(find_children(self.authd.pid))) >= self.workers:
                return
            assert time.monotonic() < deadline, f"a worker is missing:\n{self.log_text[-3000:]}"
            time.sleep(0.02)

    def stop_authd(self, number: int = signal.SIGTERM) -> None:
        """End it, workers included; SIGKILL leaves nobody the time to clean up."""
        if self.authd is None:
            return
        workers = find_children(self.authd.pid)
        self.authd.send_signal(number)
        if number == signal.SIGKILL:
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        self.authd.wait(timeout=60)
        self.authd = None

    def reload(self) -> None:
        """SIGHUP, as `systemctl reload` sends it, once all workers are there to follow it."""
        assert self.authd is not None
        self.wait_for_workers()
        self.authd.send_signal(signal.SIGHUP)

    @property
    def listener_headers(self) -> list[tuple[str, str]]:
        """What nginx sends to a TCP listener to prove itself; nothing on a unix socket."""
        name = self.config.get("listen_secret_file")
        return [("X-Authd-Secret", (self.directory / name).read_text().strip())] if name else []

    def ask_authd(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> int:
        """Ask authd itself, past nginx. 0 if it does not answer."""
        return self.fetch_authd(path, headers)[0]

    def ask_check(self, browser: Browser, host: str, application: str) -> int:
        """What a worker says about a browser's token, past nginx and its cache. Any worker takes the connection."""
        token = browser.cookies[host]["CF_AUTHORIZATION"]
        headers = [
            ("X-Authd-App", application),
            ("X-Original-Method", "GET"),
            ("X-Original-Url", self.url(host)),
            ("X-Original-Path", "/"),
            ("X-Real-Ip", "127.0.0.1"),
            ("X-Authd-Session", token),
            ("Cookie", f"CF_AUTHORIZATION={token}"),
        ]
        return self.ask_authd("/auth", headers)

    def fetch_authd(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> tuple[int, bytes]:
        """Status and body of authd's own answer; (0, b"") without one."""
        kind, _, rest = self.config["listen"].partition(":")
        connection = http.client.HTTPConnection("127.0.0.1", 0 if kind == "unix" else int(rest), timeout=5)
        try:
            if kind == "unix":
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(rest)
            connection.putrequest("GET", path)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    @property
    def log_text(self) -> str:
        """All that authd has written."""
        return (self.directory / "authd.log").read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        lines = [json.loads(line) for line in self.log_text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


def find_children(pid: int) -> list[int]:
    """The direct children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def start_stack(
    directory: Path,
    *,
    applications: Sequence[dict[str, Any]] = DEFAULT_APPLICATIONS,
    people: Sequence[Person] = (ALICE, MALLORY),
    settings: dict[str, Any] | None = None,
    locations: dict[str, str] | None = None,
    provider_settings: dict[str, Any] | None = None,
    program: Sequence[str] = ("authd.cli", "serve"),
    team: str = TEAM,
    client_settings: dict[str, Any] | None = None,
    more_providers: Sequence[dict[str, Any]] = (),
) -> Iterator[Stack]:
    """Run everything. `locations` maps a host to nginx locations of its own instead of one `location /`.

    `team` is the team host. Programs that look names up reach it as `localhost` alone. `client_settings` are how the
    provider knows authd.

    `more_providers` stand after the company's in the configuration.

    `program` is the module that is run as authd, with its first arguments.
    """
    port = find_free_port()
    client = {
        "client_id": "authd",
        "client_secret": "client-secret-of-the-tests",
        "redirect_uris": [f"https://{team}:{port}/cdn-cgi/access/callback"],
        **(client_settings or {}),
    }
    (directory / "idp").mkdir()
    with contextlib.ExitStack() as cleanup:
        # In memory: on the disk of a busy machine one fsync may take longer than authd waits for a store (200 ms).
        memory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir=find_memory_directory())))
        (directory / "authd.db").symlink_to(memory / "authd.db")
        provider = cleanup.enter_context(start_identity_provider(directory / "idp", people=people, clients=[client]))
        application = cleanup.enter_context(EchoApplication())
        config = _write_config(
            directory,
            f"{team}:{port}",
            applications,
            settings or {},
            [_describe_provider(directory, provider.issuer) | (provider_settings or {}), *more_providers],
        )
        hosts = _hosts(applications)
        _render_nginx(directory)
        ensure_certificates(directory, [team, *(host.removeprefix("*.") for host in hosts)])
        text = _render_http(directory, port, application.port, applications, locations or {}, team)
        started: list[Stack] = []
        # After nginx: while that keeps connections open, authd waits for them to come to an end.
        cleanup.callback(lambda: [stack.stop_authd() for stack in started])
        nginx = cleanup.enter_context(running_nginx(directory, text, port=port))
        stack = Stack(directory, port, nginx, provider, application, config, program)
        started.append(stack)
        stack.start_authd()
        yield stack


def _write_config(
    directory: Path,
    team_domain: str,
    applications: Sequence[dict[str, Any]],
    settings: dict[str, Any],
    providers: list[dict[str, Any]],
) -> dict[str, Any]:
    _write_secret(directory / "secret", base64.b64encode(os.urandom(32)).decode())
    config = {
        "team_domain": team_domain,
        "listen": f"unix:{directory}/authd.sock",
        "state": f"sqlite:{directory}/authd.db",
        "secret_file": "secret",
        "identity_providers": providers,
        "applications": list(applications),
        "login_rate_limit": {"per_address": 1000, "per_person": 1000, "window": "1m"},
        **settings,
    }
    (directory / "authd.yml").write_text(yaml.safe_dump(config))
    return config


def _describe_provider(directory: Path, issuer: str) -> dict[str, Any]:
    _write_secret(directory / "corp.secret", "client-secret-of-the-tests")
    provider = {"id": "corp", "type": "oidc", "name": "Company login", "issuer": issuer, "client_id": "authd"}
    return provider | {"client_secret_file": "corp.secret", "scopes": ["openid", "email", "profile", "groups"]}


def _write_secret(path: Path, text: str) -> None:
    path.write_text(text + "\n")
    path.chmod(0o600)


def _render_nginx(directory: Path) -> None:
    command = [sys.executable, "-m", "authd.cli", "nginx", "render", "--config", str(directory / "authd.yml")]
    command += ["--out", str(directory / "authd"), "--cache-dir", str(directory / "cache")]
    subprocess.run(command, check=True, capture_output=True)


def _hosts(applications: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(domain.partition("/")[0] for each in applications for domain in each["domains"]))


def _render_http(
    directory: Path,
    port: int,
    application_port: int,
    applications: Sequence[dict[str, Any]],
    locations: dict[str, str],
    team: str,
) -> str:
    by_host = {
        host: next(each["id"] for each in applications if host in {d.partition("/")[0] for d in each["domains"]})
        for host in _hosts(applications)
    }
    upstream = f"http://127.0.0.1:{application_port}"
    servers = [_render_server(port, team, "include authd/authd-team.conf;", directory)]
    for host, application_id in by_host.items():
        body = (
            locations.get(host)
            or f"""location / {{
            set $authd_app {application_id};
            include authd/authd-protect.conf;
            include authd/authd-identity.conf;
            proxy_pass {upstream};
        }}"""
        )
        body = body.replace("{app}", upstream)
        servers.append(_render_server(port, host, f"include authd/authd-server.conf;\n{body}", directory))
    default = _render_server(port, "_", "large_client_header_buffers 4 32k; return 444;", directory, "default_server")
    return "include authd/authd-http.conf;\n" + "\n".join([default, *servers])


def _render_server(port: int, host: str, body: str, directory: Path, option: str = "") -> str:
    return f"""server {{
        listen 127.0.0.1:{port} ssl {option};
        server_name {host};
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.key;
        {body}
    }}"""
