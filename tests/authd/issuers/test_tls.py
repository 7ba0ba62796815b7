"""Only the host that the operator named is believed: its certificate, by the authorities that count for it."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from authd.config.authorities import Authorities, load_authorities
from authd.errors import IssuerUnavailableError
from authd.issuers.access_tokens import ACCESS_ALGORITHMS
from authd.issuers.key_source import KeyPlace, KeySource
from authd.jose import parse_unverified_token
from tests.authd.house import Clock
from tests.authd.idp.logins import until
from tests.authd.issuers.edge_tokens import TEAM, sign
from tests.authd.issuers.test_key_source import Store
from tests.demo.certificates import ensure_certificates
from tests.forge import key_set_document, public_jwk


class _Keys(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = key_set_document(public_jwk("provider-1"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("edge")
    ensure_certificates(directory, ["localhost"])
    return directory


@pytest.fixture(scope="module")
def port(certificates: Path) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Keys)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


async def is_trusted(url: str, authorities: Authorities | None) -> bool:
    clock = Clock()
    store = Store(clock)
    place = KeyPlace(TEAM, url, authorities, ACCESS_ALGORITHMS)
    source = KeySource(place, shared=store, may_fetch=store.may_fetch, clock=clock, monotonic=clock)
    source.tend()
    await until(lambda: source._renewal is None)
    try:
        return (await source.find_key(parse_unverified_token(sign()))).key_id == "provider-1"
    except IssuerUnavailableError:
        return False
    finally:
        source.close()


async def test_the_operator_s_authority_vouches_for_the_edge(port: int, certificates: Path) -> None:
    assert await is_trusted(f"https://localhost:{port}/certs", load_authorities(certificates / "ca.pem"))


async def test_f12_without_it_the_system_s_do_not(
    port: int, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not await is_trusted(f"https://localhost:{port}/certs", None)
    (told,) = [record.fields for record in caplog.records if record.message == "issuer.keys_not_renewed"]  # type: ignore[attr-defined]
    assert told["cause"] == "tls"


async def test_f12_another_authority_does_not_either(port: int, tmp_path: Path) -> None:
    ensure_certificates(tmp_path, ["localhost"])
    assert not await is_trusted(f"https://localhost:{port}/certs", load_authorities(tmp_path / "ca.pem"))


async def test_f12_another_host_s_certificate_does_not(port: int, certificates: Path) -> None:
    assert not await is_trusted(f"https://127.0.0.1:{port}/certs", load_authorities(certificates / "ca.pem"))


async def test_a_named_authority_takes_the_place_of_the_system_s(
    port: int, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names one does not mean all the others, too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    assert await is_trusted(f"https://localhost:{port}/certs", None)
    ensure_certificates(tmp_path, ["localhost"])
    assert not await is_trusted(f"https://localhost:{port}/certs", load_authorities(tmp_path / "ca.pem"))
