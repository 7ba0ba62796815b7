import asyncio
import contextlib
import datetime
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from authd.errors import ProviderLiedError, ProviderUnavailableError
from authd.idp.http import THREADS, ProviderHttp
from tests.forge import ec_key


class _Recorder(http.server.BaseHTTPRequestHandler):
    """Answers everything with its size in `X` and remembers the request's headers."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        body = b"x" * int(self.path.rpartition("/")[2] or 0)
        self.send_response(200)
        self.send_header("Content-Type", 'Application/JSON; charset="utf-8"')
        self.send_header("Set-Cookie", "tracking=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(tls: ssl.SSLContext | None = None) -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    server.seen = []  # type: ignore[attr-defined]
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def plain() -> Iterator[http.server.ThreadingHTTPServer]:
    yield from serve()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of nobody for 127.0.0.1, with its key in the same file."""
    key = ec_key("tls")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serve(context)


def url_of(server: http.server.ThreadingHTTPServer, scheme: str = "http", size: int = 2) -> str:
    return f"{scheme}://127.0.0.1:{server.server_address[1]}/{size}"


@pytest.fixture
def caller(request: pytest.FixtureRequest) -> Iterator[ProviderHttp]:
    http_ = ProviderHttp("corp")
    yield http_
    http_.close()


async def test_an_answer_comes_with_status_type_and_body(plain: Any, caller: ProviderHttp) -> None:
    answer = await caller.get("key set", url_of(plain), max_bytes=2)
    assert (answer.status, answer.content_type, answer.body) == (200, "application/json", b"xx")


async def test_one_byte_too_many_is_too_many(plain: Any, caller: ProviderHttp) -> None:
    with pytest.raises(ProviderLiedError, match="key set is larger than 2 bytes"):
        await caller.get("key set", url_of(plain, size=3), max_bytes=2)


async def test_the_environment_and_earlier_answers_change_nothing(
    plain: Any, caller: ProviderHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy, no .netrc (CVE-2024-47081), no cookies, no compression."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for _ in range(2):
        await caller.get("key set", url_of(plain), max_bytes=10, bearer="t0ken")
    headers = plain.seen[-1][1]
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in headers
    await caller.get("key set", url_of(plain), max_bytes=10)
    assert "Authorization" not in plain.seen[-1][1]


async def test_a_certificate_of_nobody_is_refused(secure: Any, caller: ProviderHttp) -> None:
    with pytest.raises(ProviderUnavailableError, match="authority among the system's") as refusal:
        await caller.get("key set", url_of(secure, "https"), max_bytes=10)
    assert refusal.value.cause == "tls"


async def test_an_authority_that_the_system_trusts_is_trusted(
    secure: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE is how OpenSSL itself is told; `update-ca-certificates` fills its default."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    caller = ProviderHttp("corp")
    assert (await caller.get("key set", url_of(secure, "https"), max_bytes=10)).body == b"xx"
    caller.close()


async def test_the_authorities_that_requests_carries_are_not_trusted_beside_the_systems(
    secure: Any, certificate: Path, caller: ProviderHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
    with pytest.raises(ProviderUnavailableError) as refusal:
        await caller.get("key set", url_of(secure, "https"), max_bytes=10)
    assert refusal.value.cause == "tls"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://127.0.0.1:99999/", "http:///", "http://[::1", "ftp://127.0.0.1/"]
)
async def test_an_address_that_leads_nowhere_is_an_outage(caller: ProviderHttp, url: str) -> None:
    with pytest.raises(ProviderUnavailableError) as outage:
        await caller.get("key set", url, max_bytes=10)
    assert outage.value.cause == "unreachable"


async def test_a_mistake_of_ours_is_not_called_an_outage(caller: ProviderHttp) -> None:
    with pytest.raises(ZeroDivisionError):
        await caller.run("key set", lambda call: 1 // 0)


async def test_no_thread_waits_for_a_connection_that_is_never_made(plain: Any) -> None:
    """A firewall that drops packets; here a queue of connections that is full and that nobody empties."""
    caller = ProviderHttp("corp", deadline_seconds=0.4)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        calls = (caller.get("key set", url, max_bytes=10) for _ in range(THREADS))
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, ProviderUnavailableError)
            assert result.cause == "timeout"
        assert await _get_again(caller, url_of(plain)) == b"xx"
    caller.close()


async def _get_again(caller: ProviderHttp, url: str) -> bytes:
    for _ in range(25):
        with contextlib.suppress(ProviderUnavailableError):
            return (await caller.get("key set", url, max_bytes=10)).body
    return b""
