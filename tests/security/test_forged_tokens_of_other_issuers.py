"""The same forgeries (attacks.md J1 to J24) at the doors where other issuers' tokens count.

An application that only verifies takes an edge's token as header or cookie; a token issuer's comes as a bearer. What
was wrong shows nowhere, and the only host that is ever asked is the one that the operator named.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from authd.keys import SigningKey
from tests.authd.idp.logins import until
from tests.authd.issuers.edge_tokens import AUD, PERSON, TEAM
from tests.forge import rsa_key
from tests.idp_server import FakeProvider, running_provider
from tests.security.conftest import StartEdge
from tests.security.edge import APPLICATIONS, EVERYONE, START, Edge, Reply
from tests.security.test_forged_tokens_at_the_check import FORGED, good_header, signed

JOBS = {"name": "Jobs", "decision": "non_identity", "include": [{"token_issuer": "jobs"}]}
KEY = SigningKey("provider-1", rsa_key("provider-1"), "a certificate", int(START) - 100, int(START) - 100, 2**40)


@pytest.fixture(scope="module")
def publisher() -> Iterator[FakeProvider]:
    with running_provider() as server:
        yield server


@pytest.fixture
async def origin(start_edge: StartEdge, publisher: FakeProvider) -> Edge:
    certs = f"{publisher.issuer}/jwks"
    verifying = {"id": "origin", "domains": ["origin.test"], "issuer": TEAM, "aud": AUD, "certs_url": certs}
    edge = await start_edge(
        applications=[
            *APPLICATIONS,
            verifying | {"policies": [EVERYONE]},
            {"id": "api", "domains": ["api.test"], "policies": [JOBS]},
        ],
        token_issuers=[{"id": "jobs", "issuer": publisher.issuer, "audiences": ["edge"]}],
    )
    edge.worker._issuers.tend()
    await until(lambda: max(edge.worker._issuers.ages_seconds().values()) < 60)
    return edge


def doors(issuer: str) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Host, good claims, and the header that carries the token."""
    job = {"iss": issuer, "aud": "edge", "sub": "deploy", "iat": int(START), "exp": int(START) + 3600}
    return {
        "assertion": ("origin.test", PERSON, "cf_access_jwt_assertion"),
        "cookie": ("origin.test", PERSON, "cookie"),
        "bearer": ("api.test", job, "authorization"),
    }


async def knock(origin: Edge, host: str, header: str, token: str) -> Reply:
    prefix = {"cookie": "CF_Authorization=", "authorization": "Bearer "}.get(header, "")
    return await origin.check(host, **{header: (prefix + token).encode("latin-1", "replace")})


@pytest.mark.parametrize("door", ["assertion", "cookie", "bearer"])
async def test_the_forge_can_make_a_good_token(origin: Edge, publisher: FakeProvider, door: str) -> None:
    host, claims, header = doors(publisher.issuer)[door]
    assert (await knock(origin, host, header, signed(good_header(KEY), claims, KEY))).status == 200


@pytest.mark.parametrize("group", FORGED)
@pytest.mark.parametrize("door", ["assertion", "cookie", "bearer"])
async def test_a_forged_token_is_nobodys(
    origin: Edge, publisher: FakeProvider, door: str, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, claims, header = doors(publisher.issuer)[door]
    assert (await knock(origin, host, header, signed(good_header(KEY), claims, KEY))).status == 200
    nobody = await origin.check(host)
    asked = _watch_connections(monkeypatch)
    before = publisher.counts["/jwks"]
    taken = []
    for name, forge in FORGED[group].items():
        answer = await knock(origin, host, header, forge(dict(claims), KEY))
        if answer.status not in (401, 403) or (answer.headers, answer.body) != (nobody.headers, b""):
            taken.append((name, answer))
    assert taken == []
    assert asked <= {("127.0.0.1", int(publisher.issuer.rpartition(":")[2]))}
    assert publisher.counts["/jwks"] - before <= 1


def _watch_connections(monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    asked: set[Any] = set()
    connect = socket.socket.connect

    def watched(self: socket.socket, address: Any) -> None:
        asked.add(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    return asked
