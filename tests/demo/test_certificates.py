"""The demonstration's authority: browsers take its certificate, and it can vouch for nothing else."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.demo.certificates import RENEW_DAYS, VALID_DAYS, ensure_certificates
from tests.demo.settings import HOSTS

NOW = datetime.now(UTC).replace(microsecond=0)


def shake_hands(directory: Path, host: str) -> None:
    """A whole TLS handshake in memory. Raises ssl.SSLCertVerificationError as a browser would warn."""
    client_context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(directory / "server.pem", directory / "server.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.parametrize("host", HOSTS)
def test_every_host_of_the_demonstration_is_certified(tmp_path: Path, host: str) -> None:
    ensure_certificates(tmp_path, HOSTS)
    shake_hands(tmp_path, host)


def test_a_host_that_is_not_the_demonstration_s_is_not_certified(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, HOSTS)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, "localhost.example.com")


def test_hosts_of_another_name_can_be_certified_for_tests(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, ["auth.test", "wiki.other.example"])
    shake_hands(tmp_path, "wiki.other.example")


def test_an_authority_that_somebody_trusts_could_vouch_for_localhost_only(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, HOSTS)
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    constraint = ca.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraint.critical
    assert constraint.value.permitted_subtrees == [x509.DNSName("localhost")]


def test_the_authority_s_own_key_is_written_nowhere_and_the_server_s_is_private(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, HOSTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "server.key", "server.pem"]
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600


def test_it_is_kept_so_that_a_browser_has_to_be_told_once(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, HOSTS, NOW)
    before = (tmp_path / "ca.pem").read_bytes()
    ensure_certificates(tmp_path, HOSTS, NOW + timedelta(days=VALID_DAYS - RENEW_DAYS - 1))
    assert (tmp_path / "ca.pem").read_bytes() == before


def test_it_is_made_anew_before_it_ends(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, HOSTS, NOW - timedelta(days=VALID_DAYS - RENEW_DAYS + 1))
    assert ensure_certificates(tmp_path, HOSTS, NOW) == NOW + timedelta(days=VALID_DAYS)


@pytest.mark.parametrize("name", ["ca.pem", "server.pem", "server.key"])
def test_a_damaged_file_is_no_obstacle(tmp_path: Path, name: str) -> None:
    ensure_certificates(tmp_path, HOSTS)
    (tmp_path / name).write_text("-----BEGIN NOTHING-----\n")
    ensure_certificates(tmp_path, HOSTS)
    shake_hands(tmp_path, HOSTS[0])


def test_a_new_host_gets_a_new_certificate(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, HOSTS[:2])
    ensure_certificates(tmp_path, HOSTS)
    shake_hands(tmp_path, HOSTS[2])
