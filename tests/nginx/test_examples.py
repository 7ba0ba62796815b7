"""Every example as it stands, through a real nginx: only addresses and certificates are this machine's."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from authd.nginx_files import NginxSettings, render_settings
from tests.harness.certificates import write_certificate
from tests.harness.echo import EchoApplication, parse_echo
from tests.harness.gateways import GatewayServer
from tests.harness.nginx import check_nginx, find_free_port, running_nginx
from tests.harness.protected import Site
from tests.harness.raw_http import Message, Reply, receive
from tests.harness.standin import IDENTITY, StandIn

pytestmark = pytest.mark.nginx

NGINX_FILES = Path(__file__).parents[2] / "nginx"
EXAMPLES = sorted(path.name for path in (NGINX_FILES / "examples").glob("*.conf"))
_HSTS = "max-age=31536000"
HOSTS = (
    "grafana.example.com",
    "example.org",
    "intranet.example.com",
    "chat.example.com",
    "auth.example.com",
    "app.example.com",
)


def localize(text: str, directory: Path, *, port: int, tls_port: int, application: str, php: str) -> str:
    """The example with this machine's ports, certificate, upstreams and directories."""
    text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE)
    text = text.replace("listen 80", f"listen 127.0.0.1:{port}").replace("listen 443", f"listen 127.0.0.1:{tls_port}")
    text = re.sub(r"/etc/nginx/tls/\S+\.crt", f"{directory}/tls/certificate.pem", text)
    text = re.sub(r"/etc/nginx/tls/\S+\.key", f"{directory}/tls/key.pem", text)
    text = re.sub(r"127\.0\.0\.1:(3000|3100|800[012]|8080)\b", application, text)
    text = text.replace("unix:/run/php/php-fpm.sock", php).replace("/srv/", f"{directory}/srv/")
    text = text.replace("unix:/run/authd/authd.sock", f"unix:{directory}/authd.sock")
    return text.replace("/var/cache/authd-nginx", f"{directory}/cache").replace("/var/www/", f"{directory}/www/")


def prepare(directory: Path, **addresses: object) -> str:
    """Copies and localizes the files, and returns what the http block includes."""
    write_certificate(directory / "tls", HOSTS)
    shutil.copy("/etc/nginx/fastcgi_params", directory)
    for path in NGINX_FILES.rglob("*.conf"):
        copy = directory / "authd" / path.relative_to(NGINX_FILES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(localize(path.read_text(), directory, **addresses))  # type: ignore[arg-type]
    for name in ("srv/intranet", "srv/app/static", "www/acme/.well-known/acme-challenge"):
        (directory / name).mkdir(parents=True)
    (directory / "srv/intranet/index.php").write_text("<?php")
    (directory / "srv/intranet/logo.svg").write_text("<svg/>")
    (directory / "srv/app/static/style.css").write_text("body {}")
    return "\n".join(f"include authd/examples/{name};" for name in EXAMPLES)


@pytest.fixture(scope="module")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, int]]:
    directory = tmp_path_factory.mktemp("nginx")
    port, tls_port = find_free_port(), find_free_port()
    with EchoApplication() as application, GatewayServer("fastcgi") as php, StandIn(directory / "authd.sock") as authd:
        http = prepare(
            directory,
            port=port,
            tls_port=tls_port,
            application=f"127.0.0.1:{application.port}",
            php=f"127.0.0.1:{php.port}",
        )
        with running_nginx(directory, http, port=port) as nginx:
            yield Site(port, tls_port, nginx, application, authd), tls_port


@pytest.fixture
def site(example_site: tuple[Site, int]) -> Site:
    example_site[0].forget()
    return example_site[0]


def ask(site: Site, host: str, target: str = "/", *, session: str = "") -> Message:
    context = ssl.create_default_context(cafile=str(site.nginx.directory / "tls/certificate.pem"))
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}:{site.http2_port}", "X-Authd-User: forged"]
    lines += [f"Cookie: CF_AUTHORIZATION={session}"] if session else []
    with (
        socket.create_connection(("127.0.0.1", site.http2_port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        answer = receive(connection)
    assert answer is not None
    return answer


PROTECTED = [
    ("grafana.example.com", "/x", "grafana"),
    ("example.org", "/wiki/x", "wiki"),
    ("example.org", "/admin/x", "admin"),
    ("intranet.example.com", "/", "intranet"),
    ("intranet.example.com", "/index.php", "intranet"),
    ("intranet.example.com", "/logo.svg", "intranet"),
    ("chat.example.com", "/", "chat"),
    ("chat.example.com", "/socket", "chat"),
    ("app.example.com", "/x", "app"),
    ("app.example.com", "/static/style.css", "app"),
]


@pytest.mark.parametrize(("host", "target", "application"), PROTECTED)
def test_a_stranger_is_sent_to_log_in(site: Site, host: str, target: str, application: str) -> None:
    assert ask(site, host, target).status == 302
    assert {check.get("X-Authd-App") for check in site.authd.checks} == {application}
    assert site.application.count == 0


@pytest.mark.parametrize(("host", "target", "application"), PROTECTED)
def test_without_authd_nobody_gets_in(site: Site, host: str, target: str, application: str) -> None:
    site.authd.program(check=Reply(drop=True))
    answer = ask(site, host, target, session="good")
    assert (answer.status, answer.get("Retry-After")) == (503, "5")
    assert site.application.count == 0


@pytest.mark.parametrize(("host", "target", "application"), PROTECTED)
def test_somebody_who_may_gets_in_as_themselves(site: Site, host: str, target: str, application: str) -> None:
    answer = ask(site, host, target, session="good")
    assert answer.status == 200
    if site.application.count:
        assert parse_echo(answer).get("X-Authd-User") == dict(IDENTITY)["X-Authd-User"]
    assert "forged" not in answer.text


def test_the_open_part_names_nobody(site: Site) -> None:
    request = parse_echo(ask(site, "example.org", "/shop"))
    assert request.get("X-Authd-User") is None
    assert site.authd.count == 0


def test_php_is_told_who_it_is(site: Site) -> None:
    assert '["HTTP_X_AUTHD_USER", "ada"]' in ask(site, "intranet.example.com", "/index.php", session="good").text


@pytest.mark.parametrize("host", ["grafana.example.com", "app.example.com"])
def test_the_endpoints_and_the_team_host_are_authds(site: Site, host: str) -> None:
    assert ask(site, host, "/cdn-cgi/access/authorized?nonce=1").text == "authd /app/authorized?nonce=1"
    answer = ask(site, "auth.example.com", "/cdn-cgi/access/callback?code=1")
    assert answer.text == "authd /team/callback?code=1"
    assert answer.get("Strict-Transport-Security") == "max-age=31536000"


def test_a_long_login_link_fits_over_tls(site: Site) -> None:
    """Here the server of the TLS name counts; in test_6_locations.py, on plain HTTP, the default server."""
    target = "/cdn-cgi/access/login/app.example.com?redirect_url=" + "%2526" * 2400
    assert ask(site, "auth.example.com", target).status == 200


def test_hsts_is_on_authds_pages_too_and_only_once(site: Site) -> None:
    for session in ("", "good"):
        assert ask(site, "app.example.com", "/x", session=session).get_all("Strict-Transport-Security") == [_HSTS]
        assert ask(site, "grafana.example.com", "/x", session=session).get_all("Strict-Transport-Security") == [_HSTS]


def test_plain_http_is_redirected_and_unknown_hosts_are_closed(site: Site) -> None:
    answer = site.get("app.example.com", "/x?y")
    assert (answer.status, answer.get("Location")) == (301, "https://app.example.com/x?y")
    assert site.send(b"GET / HTTP/1.1\r\nHost: unknown.example.com\r\n\r\n") is None


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name != "authd.conf"])
def test_nginx_accepts_each_example_by_itself_without_a_warning(tmp_path: Path, example: str) -> None:
    addresses = {
        "port": find_free_port(),
        "tls_port": find_free_port(),
        "application": "127.0.0.1:1",
        "php": "127.0.0.1:1",
    }
    prepare(tmp_path, **addresses)
    output = check_nginx(tmp_path, f"include authd/examples/authd.conf; include authd/examples/{example};")
    assert "warn" not in output
    assert "emerg" not in output


def test_the_committed_files_are_what_render_writes_for_the_defaults() -> None:
    """`authd nginx render` and the repository must not drift apart."""
    committed = {path.name: path.read_text() for path in NGINX_FILES.glob("authd-*.conf")}
    assert committed == render_settings(NginxSettings())


@pytest.mark.parametrize("path", sorted(NGINX_FILES.rglob("*.conf")), ids=lambda path: path.name)
def test_each_file_says_what_why_where_and_what_happens_when_authd_is_down(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("# What   ", "# Why   ", "# Context   ", "# Default   ", "# authd down  "):
        assert sum(line.startswith(word) for line in comments) == 1, word
    assert path.name in comments[0]
