"""The parts of one worker, put together by hand in a test: a clock that stands still, ids that count, real keys."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from authd.access import Access
from authd.application_tokens import ApplicationTokens
from authd.attempts import Attempts
from authd.config import Config, parse_config
from authd.credentials import CheckRequest, Credentials
from authd.evaluations import Evaluations
from authd.in_force import Policies, Provider
from authd.issuers import Issuers
from authd.issuers.key_source import FETCH_SECONDS
from authd.keys import Keyring, generate_keyring
from authd.limits import LoginLimits
from authd.login import Login
from authd.login_steps import Client
from authd.machine_tokens import MachineTokens
from authd.model import Facts, Identity, Session
from authd.policy.index import build_index
from authd.sealing import Sealer
from authd.service_tokens import ServiceTokens
from authd.sessions import Sessions
from authd.state.records import Records
from authd.state.service_token_rows import ServiceTokenRows
from authd.state.sqlite import SqliteStore
from authd.tokens import Tokens
from authd.urls import find_original_url

NOW = 1_800_000_000
TEAM = "auth.example.com"
SECRET = bytes(range(32))
CONFIG = """
team_domain: auth.example.com
secret_file: /nowhere
identity_providers:
  - {id: corp, type: oidc, name: Company login, issuer: "https://idp.example.com", client_id: authd}
  - {id: partner, type: oidc, issuer: "https://partner.example.com", client_id: authd}
applications:
  - id: grafana
    name: Grafana
    domains: [grafana.example.com]
    session_duration: 1h
    policies: [{name: Staff, decision: allow, include: [{email_domain: example.com}]}]
  - id: wiki
    domains: [wiki.example.com]
    allowed_idps: [corp]
    policies: [{name: Everyone, decision: allow, include: [{everyone: true}]}]
  - id: root
    domains: [shared.example.com]
    policies: [{name: Everyone, decision: allow, include: [{everyone: true}]}]
  - id: admin
    domains: [shared.example.com/admin]
    policies: [{name: Staff, decision: allow, include: [{email_domain: example.com}]}]
  - id: public
    domains: [public.example.com]
    policies: [{name: Public, decision: bypass, include: [{everyone: true}]}]
  - id: hooks
    domains: [hooks.example.com]
    options_preflight_bypass: true
    policies: [{name: Everyone, decision: allow, include: [{everyone: true}]}]
"""


@dataclass
class Clock:
    """Stands still until a test moves it."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def count_ids() -> Callable[[int], str]:
    """Ids of the right length that differ from each other."""
    numbers = itertools.count(1)
    return lambda length: f"{next(numbers):0{length}d}"


@functools.cache
def get_keyring() -> Keyring:
    """Real keys, made once: they take a while."""
    return generate_keyring(team_domain=TEAM, now=NOW - 86400)


def make_identity(email: str | None = "alice@example.com", **changes: Any) -> Identity:
    values: dict[str, Any] = {
        "subject": f"subject-of-{email}",
        "provider_id": "corp",
        "provider_subject": str(email),
        "email": email,
        "unverified_email": email,
        "name": None,
        "groups": ("staff",),
        "auth_methods": ("pwd",),
    }
    return Identity(**values | changes)


def make_session(id_: str = "session-of-alice", identity: Identity | None = None, **changes: Any) -> Session:
    values: dict[str, Any] = {"created_at": NOW, "expires_at": NOW + 86400, "client_ip": "192.0.2.1", "user_agent": ""}
    return Session(id=id_, identity=identity or make_identity(), **values | changes)


def make_request(url: str = "https://grafana.example.com/", **changes: Any) -> CheckRequest:
    """A request as nginx tells of it, in agreement with itself unless a test changes something."""
    original = find_original_url(url)
    assert original is not None
    values: dict[str, Any] = {
        "claimed_application": "",
        "method": "GET",
        "url": original,
        "path": original.raw_path,
        "facts": Facts(ip_address("192.0.2.1")),
        "scope": original.host,
        "nginx_session": "",
        "cookie_header": "",
        "access_token": "",
        "assertion": "",
        "authorization": "",
        "is_preflight": False,
    }
    return CheckRequest(**values | changes)


def with_cookie(token: str, name: str = "CF_AUTHORIZATION") -> dict[str, str]:
    """The changes of a request that carries this session, as browser and nginx both see it."""
    return {"cookie_header": f"{name}={token}", "nginx_session": token}


def make_client(cookie_header: str = "", address: str = "192.0.2.1") -> Client:
    return Client(Facts(ip_address(address), None), "a browser", cookie_header)


@dataclass
class House:
    """Everything below HTTP. `index` and `providers` may be replaced, as a reload does."""

    directory: Path
    text: str = CONFIG
    providers: dict[str, Provider] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    monotonic: Clock = field(default_factory=Clock)
    keyring: Keyring = field(default_factory=get_keyring)
    idle_seconds: int = 0

    def __post_init__(self) -> None:
        self.store = SqliteStore(self.directory / "authd.db")
        self.sealer = Sealer([SECRET])
        self.broken: list[str] = []
        self.records = Records(self.store, self.sealer, on_broken=self.broken.append, clock=self.clock)
        self.issuers = Issuers(
            shared=self.records, may_fetch=self._may_fetch, clock=self.clock, monotonic=self.monotonic
        )
        self.load(self.text)
        self.sessions = self.make_sessions()
        self.tokens = Tokens(issuer=f"https://{TEAM}", keyring=lambda: self.keyring, clock=self.clock)
        self.attempts = Attempts(self.sealer, self.clock)
        rows = ServiceTokenRows(self.store, self.sealer, on_broken=lambda kind: None)
        self.service_tokens = ServiceTokens(rows, clock=self.clock)
        application_tokens = ApplicationTokens(self.tokens, ends_of=self.sessions.ends_of, clock=self.clock)
        self.access = Access(
            index=lambda: self.index,
            credentials=Credentials(
                tokens=self.tokens,
                sessions=self.sessions,
                issuers=self.issuers,
                service_tokens=self.service_tokens,
                clock=self.clock,
            ),
            application_tokens=application_tokens,
            machine_tokens=MachineTokens(self.tokens, clock=self.clock),
            clock=self.clock,
            decision_cache_seconds=1,
        )
        self.login = Login(
            policies=lambda: Policies(self.config, self.index, self.providers),
            attempts=self.attempts,
            tokens=self.tokens,
            application_tokens=application_tokens,
            sessions=self.sessions,
            evaluations=Evaluations(self.tokens, self.sessions, clock=self.clock, new_id=lambda length: "n" * length),
            records=self.records,
            limits=LoginLimits(self.store, limits=lambda: (30, 10, 60), clock=self.clock),
            clock=self.clock,
            new_id=count_ids(),
        )

    def load(self, text: str) -> None:
        """Put another configuration in force."""
        self.text = text
        self.config: Config = parse_config(text, source="test", base_dir=self.directory)
        self.index = build_index(self.config)
        self.issuers.select(self.config)

    def make_another_worker(self) -> House:
        """With the same store, configuration and clocks, and nothing remembered."""
        return House(self.directory, self.text, self.providers, self.clock, self.monotonic, self.keyring)

    async def fetch_issuers_keys(self) -> None:
        """As the worker's loop does before anybody asks."""
        self.issuers.tend()
        async with asyncio.timeout(10):
            while max(self.issuers.ages_seconds().values()) == float("inf"):
                await asyncio.sleep(0.01)

    async def _may_fetch(self, name: str) -> bool:
        now = int(self.clock())
        return await self.store.count("issuer_keys_fetch", name, now=now, window_seconds=FETCH_SECONDS) == 1

    def make_sessions(self, outage_grace_seconds: float = 300) -> Sessions:
        """The sessions as one more worker sees them."""
        return Sessions(
            self.store,
            self.records,
            clock=self.clock,
            monotonic=self.monotonic,
            outage_grace_seconds=outage_grace_seconds,
            idle_seconds=lambda: self.idle_seconds,
        )

    async def open_session(self, application_id: str = "grafana", **changes: Any) -> tuple[Session, str]:
        """A session and its token for one application."""
        session = make_session(**changes)
        await self.sessions.add(session)
        return session, self.issue(session, application_id)

    def issue(self, session: Session, application_id: str = "grafana") -> str:
        aud = self.index.get_application(application_id).aud
        return self.tokens.issue_application_token(session, audience=aud, expires_at=NOW + 3600, policy_id=None)
