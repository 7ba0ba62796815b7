"""Hosts and ports, with the default server on plain HTTP and on TLS (reference/nginx-contract.md, section 7)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from authd.nginx_files import NginxSettings, render_settings
from tests.harness.certificates import write_certificate
from tests.harness.echo import parse_echo
from tests.harness.nginx import NginxRefusedError, check_nginx, find_free_port
from tests.harness.protected import PROTECTED, Site, render_server, running_site
from tests.harness.raw_http import Message, receive

pytestmark = pytest.mark.nginx

HOST = "app.example.com"
_LOCATION = f"location / {{ set $authd_app app; {PROTECTED} }}"


def default_server(port: str, tls_port: int) -> str:
    """authd-default.conf with the listen lines of this machine, as its header asks for."""
    text = render_settings(NginxSettings())["authd-default.conf"]
    lines = [line for line in text.splitlines() if "[::]" not in line]
    return (
        "\n".join(lines)
        .replace("listen 80 ", f"listen 127.0.0.1:{port} ")
        .replace("listen 443 ", f"listen 127.0.0.1:{tls_port} ")
    )


@pytest.fixture(scope="module")
def default_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, int, Path]]:
    directory = tmp_path_factory.mktemp("nginx")
    certificate, key = write_certificate(directory / "tls", (HOST,))
    tls_port = find_free_port()
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    http = (
        default_server("{port}", tls_port)
        + render_server(HOST, f"listen 127.0.0.1:{tls_port} ssl; {tls} {_LOCATION}")
        + render_server("nat.example.com", f'set $authd_port ":8443"; {_LOCATION}')
    )
    with running_site(directory, http) as site:
        yield site, tls_port, certificate


@pytest.fixture
def site(default_site: tuple[Site, int, Path]) -> Site:
    default_site[0].forget()
    return default_site[0]


def ask_tls(default_site: tuple[Site, int, Path], *, sni: str | None, host: str) -> Message | None:
    """None where nginx closes without an answer. Raises ssl.SSLError where it refuses the handshake."""
    _, port, certificate = default_site
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=sni) as connection,
    ):
        connection.sendall(f"GET /x HTTP/1.1\r\nHost: {host}\r\nCookie: CF_AUTHORIZATION=good\r\n\r\n".encode())
        return receive(connection)


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\nHost: unknown.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app,evil.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.example.com.evil.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.example.com@evil.com\r\n\r\n",
        "GET http://evil.com/ HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_7_1_a_host_that_nobody_named_is_closed(site: Site, request_text: str) -> None:
    assert site.send(request_text.encode()) is None
    assert site.authd.count == 0


@pytest.mark.parametrize("sni", [None, "evil.com", "unknown.example.com"])
def test_7_1_so_is_its_tls_handshake(site: Site, default_site: tuple[Site, int, Path], sni: str | None) -> None:
    with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
        ask_tls(default_site, sni=sni, host=HOST)
    assert site.authd.count == 0


def test_7_1_a_known_name_in_the_handshake_does_not_open_another_host(
    site: Site, default_site: tuple[Site, int, Path]
) -> None:
    assert ask_tls(default_site, sni=HOST, host="evil.com") is None
    answer = ask_tls(default_site, sni=HOST, host=HOST)
    assert answer is not None
    assert parse_echo(answer).get("X-Forwarded-Proto") == "https"


def test_7_2_two_default_servers_on_one_address_are_refused(tmp_path: Path) -> None:
    """Why it is a file of its own, and Debian's sites-enabled/default has to go."""
    text = default_server("18080", 18443)
    with pytest.raises(NginxRefusedError, match=r"a duplicate default server for 127.0.0.1:18080"):
        check_nginx(tmp_path, f"{text} server {{ listen 127.0.0.1:18080 default_server; }}")


def test_7_3_without_a_default_server_authd_hears_whatever_host_was_asked_for(tmp_path: Path) -> None:
    """nginx takes the first server then; authd refuses a host that its configuration does not have."""
    with running_site(tmp_path, render_server(HOST, _LOCATION)) as site:
        for host in ("evil.com", "app,evil.com"):
            site.get(host, "/x")
            assert site.authd.checks[-1].get("X-Original-Url") == f"http://{host}:{site.port}/x"


@pytest.mark.parametrize("host", ["app.example.com", "APP.example.COM", "app.example.com.", "app.example.com:1234"])
def test_7_4_authd_hears_the_host_that_nginx_matched(site: Site, host: str) -> None:
    site.get(host, "/x")
    assert site.authd.checks[0].get("X-Original-Url") == f"http://app.example.com:{site.port}/x"
    assert site.authd.challenges[0].get("X-Original-Host") == host


def test_7_4_the_host_header_beside_an_absolute_url_is_not_believed(site: Site) -> None:
    data = f"GET http://{HOST}/x HTTP/1.1\r\nHost: evil.com\r\nCookie: CF_AUTHORIZATION=good\r\n\r\n".encode()
    answer = site.send(data)
    assert answer is not None
    assert parse_echo(answer).get("Host") == f"{HOST}:{site.port}"
    assert site.authd.checks[0].get("X-Original-Url") == f"http://{HOST}:{site.port}/x"
    assert site.authd.checks[0].get("X-Authd-Scope") == f"{HOST}/x"


@pytest.mark.parametrize("target", ["http://app.example.com?x=1", "http://app.example.com"])
def test_7_4_an_absolute_url_without_a_path(site: Site, target: str) -> None:
    """$request_uri is then "?x=1": authd takes that for no URL and refuses, as its own tests show."""
    site.send(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    suffix = "?x=1" if "?" in target else "/"
    assert site.authd.checks[0].get("X-Original-Url") == f"http://{HOST}:{site.port}{suffix}"
    assert site.authd.checks[0].get("X-Original-Path") == "/"


def test_7_5_the_port_is_nginx_own_and_can_be_set_where_nat_maps_it(site: Site) -> None:
    assert parse_echo(site.get(HOST, "/x", session="good")).get("Host") == f"{HOST}:{site.port}"
    assert parse_echo(site.get("nat.example.com", "/x", session="good")).get("Host") == "nat.example.com:8443"
    assert site.authd.checks[1].get("X-Original-Url") == "http://nat.example.com:8443/x"
