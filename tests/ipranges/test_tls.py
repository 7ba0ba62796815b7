"""TLS is verified, always: by the system's authorities, or by those of `ca_file`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipranges.errors import FetchError
from ipranges.fetch import Fetcher, HttpLimits
from tests.ipranges.authority import Authority
from tests.ipranges.edge_server import EdgeServer

LIST = b"1.2.3.0/24\n"


def fetch(certificate: Path, ca_file: Path | None) -> bytes | None:
    server = EdgeServer(certificate)
    server.quiet_errors()
    server.serve("/list", LIST, content_type="text/plain")
    limits = HttpLimits(retries=0, ca_file=str(ca_file) if ca_file else None)
    try:
        return Fetcher(limits).fetch(server.url("/list"), accept="*/*").body
    finally:
        server.close()


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


def test_the_configured_authority_is_trusted(ours: Authority) -> None:
    assert fetch(ours.issue("server", address="127.0.0.1"), ours.path) == LIST


def test_nobody_else_is(ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strangers = Authority(tmp_path, "strangers")
    good = ours.issue("server", address="127.0.0.1")
    # What curl and others take from the environment must not weaken, or replace, what is configured.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ours.path))
    for certificate, ca_file in (
        (good, None),
        (good, strangers.path),
        (strangers.issue("server", address="127.0.0.1"), ours.path),
        (ours.issue("server", address="127.0.0.9"), ours.path),
        (ours.issue("server", address="127.0.0.1", days=-1), ours.path),
    ):
        with pytest.raises(FetchError, match="TLS failed"):
            fetch(certificate, ca_file)
