"""What a worker does beside its visitors, each step broken in many ways: uses are noted, people are asked about again
at their providers, keys of other issuers are renewed. Whatever fails there, nobody is logged out, and nobody gets in.

One worker in the test's own process, which goes through its rounds when the test says so; its partners are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

import authd.activity
import authd.identity_refresh
import authd.issuers.key_source
import authd.service_tokens
import authd.worker
from authd.config import parse_config
from authd.model import Session, Vouched
from authd.sealing import Sealer
from authd.service_token_changes import NewSecret, ServiceTokenChanges
from authd.state.records import ProviderTokens
from authd.state.service_token_rows import ServiceTokenRows
from authd.state.sqlite import SqliteStore
from authd.worker import Worker
from tests.faults.failpoints import ERRORS, VALUES, find_failpoints
from tests.faults.partners import Partners, running_partners
from tests.security.edge import SECRET, Edge

STEPS = (
    "Activity._note",
    "Activity.flush",
    "GithubProvider.refresh",
    "IdentityRefresh._fail",
    "IdentityRefresh._go_on",
    "IdentityRefresh._refresh",
    "IdentityRefresh._succeed",
    "IdentityRefresh.run",
    "KeySource._may_renew",
    "KeySource._renew",
    "OidcProvider._gather_refreshed",
    "OidcProvider._verify_refreshed",
    "OidcProvider.refresh",
    "Records.lock_refresh",
    "Records.note_use",
    "ServiceTokenRows.note_use",
    "ServiceTokens.flush",
    "Worker._refresh_identities",
)
FAULTS = (
    *(
        ("before", each)
        for each in ("RuntimeError", "StoreUnavailableError", "ProviderUnavailableError", "TimeoutError")
    ),
    *(("before", each) for each in VALUES),
    *(("after", each) for each in ("RuntimeError", "garbage")),
)
EVERYONE = {"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}
MACHINES = {"name": "Machines", "decision": "non_identity", "include": [{"any_valid_service_token": True}]}
NAVIGATION = {"sec_fetch_mode": "navigate", "accept": "text/html"}


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice came from the OIDC provider and Mona from GitHub; Carol's session has ended."""

    edge: Edge
    partners: Partners
    alice: Session
    mona: Session
    carol: Session
    machine: NewSecret

    async def check(self, session: Session) -> int:
        token = self.edge.token(session, "wiki")
        reply = await self.edge.check("wiki.test", cookie=self.edge.cookie(token, "wiki"))
        return reply.status

    async def check_machine(self, secret: str) -> int:
        client_id = self.machine.token.client_id
        reply = await self.edge.check("ci.test", cf_access_client_id=client_id, cf_access_client_secret=secret)
        return reply.status

    async def check_edge(self, key: str) -> int:
        reply = await self.edge.check("behind.test", cf_access_jwt_assertion=self.partners.sign_person(key))
        return reply.status

    async def make_due(self) -> None:
        """The next use of their sessions finds that it is time to ask their providers."""
        for session in (self.alice, self.mona):
            await self.edge.worker.sessions.change(session.id, lambda found: replace(found, refresh_at=1))

    async def go_round(self) -> None:
        """One round of the worker's loop, and what it began. What it raises, the loop would log."""
        with contextlib.suppress(Exception):
            await self.edge.worker._run_once(True)
        await self.settle()

    async def settle(self) -> None:
        begun = [self.edge.worker._refreshing]
        begun += [source._renewal for source in self.edge.worker._issuers._sources.values()]
        await asyncio.gather(*(task for task in begun if task), return_exceptions=True)

    async def assert_all_is_well(self) -> None:
        assert [await self.check(who) for who in (self.alice, self.mona)] == [200, 200]
        assert await self.check(self.carol) == 401
        assert await self.check_machine(self.machine.secret) == 200

    async def assert_nobody_gets_in(self) -> None:
        assert await self.check_machine("0" * 64) == 401
        assert await self.check_edge("provider-1") == 200
        assert await self.check_edge("stranger") == 401


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens once a minute or in ten happens in every round."""
    for module, names in {
        authd.activity: ("NOTE_SECONDS",),
        authd.service_tokens: ("NOTE_SECONDS",),
        authd.identity_refresh: ("RETRY_SECONDS", "LOCK_SECONDS"),
        authd.issuers.key_source: ("FRESH_SECONDS", "FETCH_SECONDS", "_AGAIN_SECONDS", "_LOOK_DEADLINE_SECONDS"),
        authd.worker: ("FETCH_SECONDS",),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, 0 if name != "_LOOK_DEADLINE_SECONDS" else 5)
    monkeypatch.setattr("authd.state.sqlite.DEADLINE_SECONDS", 5.0)


@pytest.fixture(scope="module")
def partners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partners]:
    with running_partners(tmp_path_factory.mktemp("partners")) as running:
        yield running


@pytest.fixture
async def scene(partners: Partners, tmp_path: Path) -> AsyncIterator[Scene]:
    partners.issuer.misbehave = set()
    config = {
        "team_domain": "auth.test:8443",
        "listen": f"unix:{tmp_path}/authd.sock",
        "state": f"sqlite:{tmp_path}/authd.db",
        "secret_file": "secret",
        "idle_timeout": "1h",
        "identity_refresh": "1m",
        "identity_providers": [each for each in partners.describe_providers() if each["id"] != "guests"],
        "applications": [
            {"id": "wiki", "domains": ["wiki.test"], "policies": [EVERYONE]},
            {"id": "ci", "domains": ["ci.test"], "policies": [MACHINES]},
            *(each for each in partners.describe_applications() if each["id"] == "behind"),
        ],
    }
    store = SqliteStore(tmp_path / "authd.db")
    parsed = parse_config(yaml.safe_dump(config), source="tests", base_dir=tmp_path)
    worker = Worker(parsed, store=store, sealer=Sealer([SECRET]))
    await worker.start()
    made = await prepare(worker, partners, Edge(worker, config, tmp_path, now=time.time()))
    await made.go_round()
    await made.assert_all_is_well()
    await made.assert_nobody_gets_in()
    yield made
    worker.close()
    await store.close()


async def prepare(worker: Worker, partners: Partners, edge: Edge) -> Scene:
    providers = worker.policies().providers
    alice, mona = [await log_in(partners, name, providers[name]) for name in ("partner", "hub")]
    sessions = [make_session(f"session-of-{n}", who) for n, who in enumerate((alice, mona, alice))]
    for session, who in zip(sessions, (alice, mona, alice), strict=True):
        await worker.records.put_provider_tokens(session, ProviderTokens(who.refresh_token or "first", None))
        await worker.sessions.add(session)
    await worker.sessions.end(sessions[2])
    rows = ServiceTokenRows(worker.store, Sealer([SECRET]), on_broken=lambda kind: None)
    machine = await ServiceTokenChanges(rows, time.time).create("ci", duration_seconds=86400)
    return Scene(edge, partners, *sessions, machine)


async def log_in(partners: Partners, name: str, provider: Any) -> Vouched:
    """What a provider says of whoever comes."""
    verifier = "v" * 64
    url = await provider.begin(state="s", nonce="n", code_verifier=verifier, prompt=None)
    query = urlsplit(url).query
    is_github = name == "hub"
    callback = partners.github.authorize(parse_qs(query)) if is_github else partners.issuer.authorize(query)
    vouched: Vouched = await provider.finish(urlsplit(callback).query, nonce="n", code_verifier=verifier)
    return vouched


def make_session(id_: str, vouched: Vouched) -> Session:
    now = int(time.time())
    return Session(id_, vouched.identity, now, now + 86400, "192.0.2.1", "a browser", refresh_at=now + 60)


class Breaking:
    """A step that fails as the test wants, before or after it has done its work."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened = 0
        self.fault, self.position = "", ""
        point = find_failpoints()[name]

        async def step(*args: Any, **kwargs: Any) -> Any:
            if not self.fault:
                return await point.function(*args, **kwargs)
            if self.position == "after":
                await point.function(*args, **kwargs)
            self.happened += 1
            if self.fault in ERRORS:
                raise ERRORS[self.fault]()
            return VALUES[self.fault]

        for attribute in point.attributes:
            monkeypatch.setattr(point.owner, attribute, step)


@pytest.mark.parametrize("name", STEPS)
async def test_nobody_is_logged_out_and_nobody_gets_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    step = Breaking(name, monkeypatch)
    if name == "IdentityRefresh._fail":
        scene.partners.issuer.misbehave = {"token-500"}
    for position, fault in FAULTS:
        step.happened, step.fault, step.position = 0, fault, position
        await scene.make_due()
        for _ in range(10):
            await scene.assert_all_is_well()
            await scene.go_round()
            if step.happened:
                break
        assert step.happened, f"the fault did not happen: {position} {fault}"
        await scene.assert_all_is_well()
    await scene.assert_nobody_gets_in()
    step.fault = ""
    await assert_all_goes_on(scene)


async def assert_all_goes_on(scene: Scene) -> None:
    """Afterwards people are asked about again, and what they may is what their providers say."""
    scene.partners.issuer.misbehave = set()
    before = [await scene.edge.worker.sessions.find(each.id) for each in (scene.alice, scene.mona)]
    assert [each and each.identity.groups for each in before] == [
        scene.alice.identity.groups,
        scene.mona.identity.groups,
    ]
    await scene.make_due()
    await scene.assert_all_is_well()
    async with asyncio.timeout(20):
        while not all([await is_asked_about(scene, each) for each in (scene.alice, scene.mona)]):
            await scene.go_round()
            await scene.assert_all_is_well()


async def is_asked_about(scene: Scene, session: Session) -> bool:
    found = await scene.edge.worker.sessions.find(session.id)
    return found is not None and found.refresh_at > time.time()
