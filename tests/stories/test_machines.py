"""Machines through the real nginx, with its decision cache on: service tokens and client certificates."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.harness.browser import Answer
from tests.harness.stack import Stack, start_stack
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
WITHIN_SECONDS = 2.5
ANY_TOKEN = [{"name": "Machines", "decision": "non_identity", "include": [{"any_valid_service_token": True}]}]
PROBE = {"common_name": {"common_name": "probe-1", "authority_id": "devices"}}
STAFF = {"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}
APPLICATIONS: list[dict[str, Any]] = [
    {
        "id": "api",
        "domains": ["api.test"],
        "read_service_tokens_from_header": "Authorization",
        "policies": [*ANY_TOKEN, STAFF],
    },
    {"id": "probes", "domains": ["probes.test"], "policies": [{**ANY_TOKEN[0], "include": [PROBE]}]},
    {"id": "devices", "domains": ["devices.test"], "policies": [{**STAFF, "require": [{"certificate": "devices"}]}]},
]
MTLS = """ssl_client_certificate {directory}/trusted.pem;
    ssl_verify_client optional;
    location / {{
        set $authd_app {name};
        include authd/authd-protect.conf;
        include authd/authd-identity.conf;
        proxy_pass {{app}};
    }}"""


class Authority:
    """A certificate authority, and whom it vouches for. Files are in `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key.public_key(), days=1, is_authority=True)

    def issue(self, common_name: str, *, days: int = 1) -> Path:
        """One file with certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._sign(name, key.public_key(), days=days, is_authority=False)
        path = self._directory / f"{self._name.rfc4514_string()}-{common_name}-{days}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(certificate + private)
        return path

    def _sign(self, subject: x509.Name, key: Any, *, days: int, is_authority: bool) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    directory = tmp_path_factory.mktemp("authorities")
    return {name: Authority(directory, name) for name in ("Device CA", "Origin Pull CA", "Stranger CA")}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, authorities: dict[str, Authority]) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("machines")
    # As on a server that asks the edge for a certificate, too: nginx trusts both.
    trusted = b"".join(authorities[name].certificate for name in ("Device CA", "Origin Pull CA"))
    (directory / "trusted.pem").write_bytes(trusted)
    settings = {
        "workers": 2,
        "client_certificate_authorities": [{"id": "devices", "issuer_dn": "CN=Device CA"}],
    }
    locations = {f"{name}.test": MTLS.format(directory=directory, name=name) for name in ("probes", "devices")}
    with start_stack(directory, applications=APPLICATIONS, settings=settings, locations=locations) as started:
        yield started


def run_service_tokens(stack: Stack, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "authd.cli", "service-tokens", *arguments, "--json"]
    command += ["--config", str(stack.directory / "authd.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def credentials(made: dict[str, Any]) -> dict[str, str]:
    return {"CF-Access-Client-Id": made["client_id"], "CF-Access-Client-Secret": made["client_secret"]}


def ask(stack: Stack, host: str, headers: dict[str, str] | None = None, *, certificate: Path | None = None) -> Answer:
    """As a program: no cookies, no redirects followed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", stack.port, context=context, timeout=10)
    # An address for each: the guesses of one test must not be held against another.
    address = f"127.0.3.{zlib.crc32(os.environ['PYTEST_CURRENT_TEST'].encode()) % 250 + 1}"
    raw = socket.create_connection(("127.0.0.1", stack.port), 10, source_address=(address, 0))
    connection.sock = context.wrap_socket(raw, server_hostname=host)
    try:
        connection.request("GET", "/", headers={"Host": f"{host}:{stack.port}", **(headers or {})})
        response = connection.getresponse()
        return Answer(host, response.status, tuple(response.getheaders()), response.read())
    finally:
        connection.close()


def seen(answer: Answer) -> dict[str, str]:
    assert answer.status == 200, (answer.status, answer.text[:200])
    return {name.lower(): value for name, value in answer.json()["headers"]}


def test_a_service_token_gets_in_and_nothing_of_it_reaches_the_application(stack: Stack) -> None:
    made = run_service_tokens(stack, "create", "story")
    for _ in range(5):
        headers = seen(ask(stack, "api.test", credentials(made)))
    claims = jwt.decode(headers["cf-access-jwt-assertion"], options={"verify_signature": False})
    assert (claims["common_name"], claims["sub"]) == (made["client_id"], "")
    assert headers["x-authd-user"] == f"machine:{made['client_id']}"
    assert not {"cf-access-client-id", "cf-access-client-secret", "cf-access-authenticated-user-email"} & set(headers)
    answer = ask(stack, "api.test", credentials(made))
    assert answer.get_all("Set-Cookie") == []
    assert made["client_secret"] not in answer.text + stack.log_text
    # What the application was shown opens nothing.
    shown = headers["cf-access-jwt-assertion"]
    for name, value in (
        ("Cf-Access-Token", shown),
        ("Authorization", f"Bearer {shown}"),
        ("Cookie", f"CF_AUTHORIZATION={shown}"),
        ("Cf-Access-Jwt-Assertion", shown),
    ):
        assert ask(stack, "api.test", {name: value}).status != 200, name


def test_one_header_for_both_is_kept_from_the_application_and_any_other_value_is_not(stack: Stack) -> None:
    made = run_service_tokens(stack, "create", "one header")
    both = json.dumps({name.lower(): value for name, value in credentials(made).items()})
    headers = seen(ask(stack, "api.test", {"Authorization": both}))
    assert "authorization" not in headers
    headers = seen(ask(stack, "api.test", {"Authorization": "Basic dXNlcjpwYXNz", **credentials(made)}))
    assert headers["authorization"] == "Basic dXNlcjpwYXNz"
    wrong = both.replace(made["client_secret"], "0" * 64)
    assert ask(stack, "api.test", {"Authorization": wrong}).status == 401


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"CF-Access-Client-Secret": "0" * 64}, "service_token_invalid"),
        ({"CF-Access-Client-Secret": ""}, "service_token_invalid"),
        ({"CF-Access-Client-Id": "0" * 32 + ".access"}, "service_token_invalid"),
    ],
)
def test_a_decision_is_never_given_to_other_credentials(stack: Stack, change: dict[str, str], error: str) -> None:
    """The right ones are hot in nginx' cache at that moment."""
    made = run_service_tokens(stack, "create", f"hot {len(change)} {sorted(change)} {list(change.values())}")
    for _ in range(3):
        seen(ask(stack, "api.test", credentials(made)))
        refused = ask(stack, "api.test", credentials(made) | change)
        assert (refused.status, refused.json()["error"]) == (401, error)
        assert refused.get("CF-Access-Aud")
        assert refused.get_all("Set-Cookie") == []
        assert ask(stack, "api.test").status in (302, 401)


@pytest.mark.parametrize("how", ["disable", "delete", "rotate"])
def test_a_hot_token_that_is_changed_is_refused_within_two_seconds(stack: Stack, how: str) -> None:
    made = run_service_tokens(stack, "create", f"to {how}")
    assert [ask(stack, "api.test", credentials(made)).status for _ in range(10)] == [200] * 10

    changed = run_service_tokens(stack, how, made["client_id"])

    wait_until(lambda: ask(stack, "api.test", credentials(made)).status == 401, "refused", WITHIN_SECONDS)
    assert [ask(stack, "api.test", credentials(made)).status for _ in range(10)] == [401] * 10
    if how == "rotate":
        assert ask(stack, "api.test", credentials(changed)).status == 200


def test_a_certificate_counts_by_its_authority(stack: Stack, authorities: dict[str, Authority]) -> None:
    device = authorities["Device CA"]
    headers = seen(ask(stack, "probes.test", certificate=device.issue("probe-1")))
    assert headers["x-authd-user"] == "machine:probe-1"
    claims = jwt.decode(headers["cf-access-jwt-assertion"], options={"verify_signature": False})
    assert claims["common_name"] == "probe-1"
    for certificate in (None, device.issue("probe-2"), authorities["Origin Pull CA"].issue("probe-1")):
        # The right one is hot in the cache; the connection decides.
        assert ask(stack, "probes.test", certificate=device.issue("probe-1")).status == 200
        assert ask(stack, "probes.test", certificate=certificate).status == 403
    for certificate in (authorities["Stranger CA"].issue("probe-1"), device.issue("probe-1", days=-1)):
        # nginx itself refuses what it cannot verify.
        assert ask(stack, "probes.test", certificate=certificate).status == 400


def test_nobody_claims_a_certificate_in_a_header(stack: Stack) -> None:
    forged = {
        "Ssl-Client-Verify": "SUCCESS",
        "Ssl-Client-Fingerprint": "ab" * 20,
        "Ssl-Client-S-Dn": "CN=probe-1",
        "Ssl-Client-I-Dn": "CN=Device CA",
    }
    assert ask(stack, "probes.test", forged).status == 403
    assert ask(stack, "probes.test", {name.replace("-", "_"): value for name, value in forged.items()}).status == 403


def test_a_person_needs_the_certificate_before_a_login_could_help(
    stack: Stack, authorities: dict[str, Authority]
) -> None:
    assert ask(stack, "devices.test", {"Accept": "text/html"}).status == 403
    laptop = authorities["Device CA"].issue("laptop")
    answer = ask(stack, "devices.test", {"Accept": "text/html"}, certificate=laptop)
    assert (answer.status, "/cdn-cgi/access/login/devices.test" in answer.get("Location")) == (302, True)
