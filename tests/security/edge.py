"""authd in one process, asked as nginx asks it: real store, real keys, real signatures, and a clock that tests move.

nginx adds nothing to what is attacked here. What it does add is attacked through `tests.harness.stack`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from authd.app import Application, create_app
from authd.config import parse_config
from authd.jose import parse_unverified_token
from authd.model import Identity, Session
from authd.sealing import Sealer
from authd.state.sqlite import SqliteStore
from authd.tokens import ORGANISATION
from authd.worker import Worker

SECRET = b"s" * 32
TEAM_HOST = "auth.test"
ADDRESS = "203.0.113.9"
START = 1_800_000_000.0

STAFF = {"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}
ADMINS = {"name": "Admins", "decision": "allow", "include": [{"email": "root@example.com"}]}
EVERYONE = {"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}
OPEN = {"name": "Open", "decision": "bypass", "include": [{"everyone": True}]}

APPLICATIONS: list[dict[str, Any]] = [
    {"id": "grafana", "name": "Grafana", "domains": ["grafana.test"], "policies": [STAFF]},
    {"id": "wiki", "name": "Wiki", "domains": ["wiki.test"], "policies": [EVERYONE]},
    {"id": "site", "name": "Site", "domains": ["paths.test"], "policies": [STAFF]},
    {"id": "public", "name": "Public", "domains": ["paths.test/public"], "policies": [OPEN]},
    {"id": "admin", "name": "Admin", "domains": ["paths.test/admin"], "policies": [ADMINS]},
    {"id": "tenants", "name": "Tenants", "domains": ["*.tenants.test"], "policies": [STAFF]},
]
PROVIDER = {"id": "corp", "type": "oidc", "name": "Company login", "issuer": "http://127.0.0.1:1", "client_id": "authd"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What authd answered. Header names in lower case, in their order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str:
        return next((value for found, value in self.headers if found == name), "")

    def get_all(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]


def to_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


async def ask(
    app: Application, target: str, headers: Iterable[tuple[str | bytes, str | bytes]], method: str = "GET"
) -> Reply:
    """One request over ASGI, with headers that no client library would send."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(to_bytes(name).lower(), to_bytes(value)) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("authd", 80),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)  # type: ignore[arg-type]
    start = next(event for event in sent if event["type"] == "http.response.start")
    body = b"".join(event.get("body", b"") for event in sent if event["type"] == "http.response.body")
    return Reply(
        start["status"], tuple((name.decode(), value.decode("latin-1")) for name, value in start["headers"]), body
    )


def make_identity(email: str | None = "alice@example.com", **members: Any) -> Identity:
    """Alice, as the provider `corp` would say it."""
    defaults: dict[str, Any] = {
        "subject": f"subject-of-{email}",
        "provider_id": "corp",
        "provider_subject": str(email),
        "email": email,
        "unverified_email": email,
        "name": None,
        "groups": (),
        "auth_methods": (),
    }
    return Identity(**defaults | members)


@dataclass
class Edge:
    """One worker. `now` is its clock, in Unix seconds; `config` is what it was made from."""

    worker: Worker
    config: dict[str, Any]
    directory: Path
    app: Application = field(init=False)
    now: float = START
    _logins: int = 0

    def __post_init__(self) -> None:
        self.app = create_app(self.worker)

    def forget(self) -> None:
        """As a worker that has just started: no token and no answer is remembered."""
        self.worker.access._credentials._verified.clear()
        self.app = create_app(self.worker)

    def application(self, application_id: str) -> Any:
        return self.worker.policies().index.get_application(application_id)

    async def log_in(self, email: str | None = "alice@example.com", **identity: Any) -> Session:
        """A session as a login leaves it, without the login."""
        self._logins += 1
        session = Session(
            id=f"session-{self._logins:08d}",
            identity=make_identity(email, **identity),
            created_at=int(self.now),
            expires_at=int(self.now) + 86400,
            client_ip=ADDRESS,
            user_agent="tests",
        )
        await self.worker.sessions.add(session)
        return session

    def token(self, session: Session, application_id: str = "grafana", expires_in: int = 28800) -> str:
        """The token that this session has at an application."""
        audience = self.application(application_id).aud
        return self.worker.tokens.issue_application_token(
            session, audience=audience, expires_at=int(self.now) + expires_in, policy_id=None
        )

    def claims(self, session: Session, application_id: str = "grafana", **changes: Any) -> dict[str, Any]:
        """What that token says, to be signed by `tests.forge`; a change to `...` removes a claim."""
        claims = self.worker.tokens._claims(session, "app", self.application(application_id).aud, int(self.now) + 28800)
        return {name: value for name, value in (claims | changes).items() if value is not ...}

    def organisation_token(self, session: Session) -> str:
        token = self.worker.tokens.issue_organisation_token(session)
        assert self.worker.tokens.verify_organisation_token(parse_unverified_token(token)).audience != ORGANISATION
        return token

    def cookie(self, token: str, application_id: str = "grafana") -> str:
        return f"{self.application(application_id).cookie_name}={token}"

    async def check(self, host: str = "grafana.test", target: str = "/", **headers: str | bytes | None) -> Reply:
        """Ask as the shipped snippet does; `None` leaves a header out, `cookie` and others are added.

        nginx' own reading of the session cookie is not sent: `x_authd_session` does that.
        """
        return await self.ask("/auth", host, target, **headers)

    async def challenge(self, host: str = "grafana.test", target: str = "/", **headers: str | bytes | None) -> Reply:
        navigation: dict[str, str | bytes | None] = {"sec_fetch_mode": "navigate", "accept": "text/html"}
        return await self.ask("/challenge", host, target, **(navigation | {"x_authd_check": "401"} | headers))

    async def ask(
        self, inner: str, host: str, target: str = "/", method: str = "GET", **headers: str | bytes | None
    ) -> Reply:
        """Ask one of authd's own paths about a URL."""
        sent: dict[str, str | bytes | None] = {
            "x_original_method": "GET",
            "x_original_url": f"https://{host}:8443{target}",
            "x_original_path": target.partition("?")[0],
            "x_real_ip": ADDRESS,
            "x_request_id": "0123456789abcdef",
            "x_authd_scope": f"{host}{target}",
        }
        pairs = [(name.replace("_", "-"), value) for name, value in (sent | headers).items() if value is not None]
        return await ask(self.app, inner, pairs, method)


def make_edge(
    directory: Path,
    *,
    applications: Iterable[dict[str, Any]] = APPLICATIONS,
    providers: Iterable[dict[str, Any]] = (PROVIDER,),
    **settings: Any,
) -> Edge:
    """A worker over `directory`/authd.db. Call `await edge.worker.start()` before anything is asked."""
    config = {
        "team_domain": f"{TEAM_HOST}:8443",
        "listen": f"unix:{directory}/authd.sock",
        "state": f"sqlite:{directory}/authd.db",
        "secret_file": "secret",
        "identity_providers": list(providers),
        "applications": list(applications),
        **settings,
    }
    edges: list[Edge] = []
    parsed = parse_config(yaml.safe_dump(config), source="tests", base_dir=directory)
    worker = Worker(
        parsed,
        store=SqliteStore(directory / "authd.db"),
        sealer=Sealer([SECRET]),
        clock=lambda: edges[0].now if edges else START,
    )
    edges.append(Edge(worker, config, directory))
    return edges[0]


def make_store_with_keys(directory: Path) -> Path:
    """A store that holds signing keys already: making two of them costs more than everything else in a test."""
    edge = make_edge(directory)

    async def make() -> None:
        await edge.worker.start()
        edge.worker.close()
        await edge.worker.store.close()

    asyncio.run(make())
    return directory / "authd.db"
