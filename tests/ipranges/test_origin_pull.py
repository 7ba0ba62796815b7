"""origin-pull.conf against a real nginx: only a certificate of our own authority gets an answer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.nginx import find_free_port, running_nginx
from tests.ipranges.authority import Authority
from tests.ipranges.namespaces import require_programs

pytestmark = pytest.mark.nginx
SNIPPET = Path(__file__).parents[2] / "nginx" / "origin-pull.conf"


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[tuple[int, Authority]]:
    require_programs("nginx")
    ours = Authority(tmp_path, "ours")
    server = ours.issue("origin.localhost")
    port = find_free_port()
    snippet = SNIPPET.read_text().replace("/etc/nginx/edge/origin-pull-ca.pem", str(ours.path))
    block = f"""server {{ listen 127.0.0.1:{port} ssl; server_name origin.localhost;
        ssl_certificate {server}; ssl_certificate_key {server};
        {snippet}
        location / {{ return 200 in; }} }}"""
    with running_nginx(tmp_path / "nginx", block, port=port):
        yield port, ours


def ask(port: int, certificate: Path | None) -> bytes:
    """What the origin answers to somebody with, or without, a certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="origin.localhost") as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: origin.localhost\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: connection.recv(4096), b""))
        except (ssl.SSLError, ConnectionError):
            return b""


def test_the_edge_with_our_certificate_is_answered(origin: tuple[int, Authority]) -> None:
    port, ours = origin
    assert ask(port, ours.issue("edge")).startswith(b"HTTP/1.1 200")


def test_nobody_else_gets_a_single_byte(origin: tuple[int, Authority], tmp_path: Path) -> None:
    port, ours = origin
    strangers = Authority(tmp_path, "shared-by-every-customer")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    namesake = Authority(elsewhere, "ours")
    assert ask(port, None) == b""
    assert ask(port, strangers.issue("edge")) == b""
    assert ask(port, namesake.issue("edge")) == b""
    assert ask(port, ours.issue("expired", days=-1)) == b""
