"""The five processes of the demonstration, and how each says that it is ready."""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.demo.processes import Part
from tests.demo.settings import APPLICATIONS, TEAM_HOST, DemoApplication, Settings
from tests.harness.idp import identity_provider_command
from tests.harness.nginx import NGINX

_PROBE_SECONDS = 2


def list_parts(settings: Settings, audiences: dict[str, str]) -> Iterator[Part]:
    """In the order in which they start. `audiences` maps an application's id to its AUD tag."""
    yield Part(
        name="provider",
        command=tuple(identity_provider_command(settings.directory / "idp.json")),
        log=settings.log("provider"),
        is_ready=partial(_answers_http, settings.provider_port, "/.well-known/openid-configuration"),
    )
    for application in APPLICATIONS:
        yield _application_part(settings, application, audiences[application.id])
    yield Part(
        name="authd",
        command=(str(Path(sys.executable).with_name("authd")), "serve", "--config", str(settings.authd_config)),
        log=settings.log("authd"),
        is_ready=partial(_answers_ready, settings.authd_socket),
    )
    nginx = settings.directory / "nginx"
    yield Part(
        name="nginx",
        command=(NGINX, "-p", str(nginx), "-c", str(nginx / "nginx.conf"), "-e", str(settings.log("nginx"))),
        log=settings.log("nginx"),
        is_ready=partial(_answers_tls, settings),
    )


def _application_part(settings: Settings, application: DemoApplication, audience: str) -> Part:
    command = [sys.executable, "-m", "tests.demo.application", "--socket", str(settings.socket(application))]
    command += ["--name", application.name, "--team", settings.issuer, "--audience", audience]
    command += ["--ca", str(settings.ca_file)]
    for other in APPLICATIONS:
        command += ["--link", f"{other.name}={settings.url(other.host)}/"]
    return Part(
        name=application.id,
        command=tuple(command),
        log=settings.log(application.id),
        is_ready=partial(_accepts, settings.socket(application)),
    )


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _answers_http(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
    return _is_ok(connection, path)


def _answers_ready(path: Path) -> bool:
    connection = http.client.HTTPConnection("authd", timeout=_PROBE_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
    except OSError:
        connection.close()
        return False
    return _is_ok(connection, "/readyz")


def _answers_tls(settings: Settings) -> bool:
    """A handshake for the team's host that ends with a certificate of our authority."""
    context = ssl.create_default_context(cafile=str(settings.ca_file))
    try:
        with socket.create_connection(("127.0.0.1", settings.port), timeout=_PROBE_SECONDS) as connection:
            context.wrap_socket(connection, server_hostname=TEAM_HOST).close()
    except OSError:
        return False
    return True


def _is_ok(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
