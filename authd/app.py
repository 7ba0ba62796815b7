"""The composition root: the only place where the parts of authd meet.

`create_app` joins finished parts into a falcon application; `Worker` makes the parts from a configuration, keeps them
fresh, and is what each gunicorn worker runs. Tests use either.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon.asgi

from authd.access import Access
from authd.attempts import Attempts
from authd.audit import DecisionLog, log_event
from authd.config import Config, IdentityProviderConfig
from authd.errors import SecretError, StoreError, StoreUnavailableError
from authd.idp import create_provider
from authd.keys import Keyring
from authd.limits import LoginLimits
from authd.login import Login, Policies, Provider
from authd.metrics import Metrics
from authd.middleware import ErrorHandlers, ListenerSecret, RefuseByDefault
from authd.policy.index import build_index
from authd.resources.answers import Answers
from authd.resources.application_host import ApplicationHost
from authd.resources.challenge import Challenge
from authd.resources.check import CheckResource
from authd.resources.pages import Pages
from authd.resources.public import Certs, Health, MetricsResource, StyleSheet
from authd.resources.team_host import TeamHost
from authd.sealing import Sealer
from authd.sessions import POLL_SECONDS, Sessions
from authd.state.base import Store
from authd.state.records import Records
from authd.tokens import Tokens

App = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]

_ALPHABET = string.ascii_letters + string.digits
_REFETCH_SECONDS = 30
_UPKEEP_SECONDS = 60


def new_id(length: int) -> str:
    """Unguessable text of letters and digits, just under 6 bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Worker:
    """The parts of one worker process. `start` and `run` belong to its event loop."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        sealer: Sealer,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        new_config: Callable[[], Config | None] = lambda: None,
    ) -> None:
        """`new_config` is asked twice a second and gives a configuration that was loaded meanwhile, once."""
        self.clock = clock
        self.store = store
        self.metrics = Metrics()
        self._new_config = new_config
        self._keyring: Keyring | None = None
        self.records = records = Records(store, sealer, on_broken=_report_broken_row, clock=clock)
        self._policies = Policies(config, build_index(config), {})
        self._policies = self._with_providers(config)
        self.sessions = Sessions(
            store,
            records,
            clock=clock,
            monotonic=monotonic,
            outage_grace_seconds=config.store_outage_grace_seconds,
        )
        self.tokens = Tokens(issuer=config.issuer, keyring=self.keyring, clock=clock)
        self.access = Access(
            index=lambda: self._policies.index,
            tokens=self.tokens,
            sessions=self.sessions,
            clock=clock,
            decision_cache_seconds=config.decision_cache_seconds,
        )
        self.login = Login(
            policies=self.policies,
            attempts=Attempts(sealer, clock),
            tokens=self.tokens,
            sessions=self.sessions,
            records=records,
            limits=LoginLimits(store, limits=self._login_limits, clock=clock),
            clock=clock,
            new_id=new_id,
        )

    def policies(self) -> Policies:
        """The configuration, index and providers that count now."""
        return self._policies

    def public_origin(self, host: str) -> str:
        """`https://host[:port]` by the configuration that counts now."""
        return self._policies.index.public_origin(host)

    def keyring(self) -> Keyring:
        """The signing keys. Raises StoreUnavailableError until they could be read once."""
        if self._keyring is None:
            raise StoreUnavailableError("the signing keys could not be read from the store yet")
        return self._keyring

    def problems(self) -> list[str]:
        """What stands between this worker and being ready; empty if nothing does."""
        return (["signing keys not loaded"] if self._keyring is None else []) + (
            [] if self.sessions.is_current() else ["store does not answer"]
        )

    async def start(self) -> None:
        """Read the keys and begin to follow revocations. Raises StoreError; call again later."""
        await self.sessions.start()
        await self.upkeep()

    async def upkeep(self) -> None:
        """Once a minute: keys that others rotated, rows that nobody needs any more. Raises StoreError."""
        now = int(self.clock())
        self._keyring = await self.records.load_keyring(team_domain=self._policies.config.team_domain, now=now)
        self.metrics.set_signing_key_age(now - self._keyring.signing_key(now).signs_from)
        await self.store.sweep(now=now)

    async def run(self) -> None:
        """Follow revocations, new configurations and keys until cancelled. An outage is logged when it begins and
        ends."""
        next_upkeep = self.clock() + _UPKEEP_SECONDS
        was_up = self._keyring is not None
        while True:
            self._take_new_config()
            try:
                if self._keyring is None:
                    await self.start()
                await self.sessions.poll()
                if self.clock() >= next_upkeep:
                    next_upkeep = self.clock() + _UPKEEP_SECONDS
                    await self.upkeep()
                is_up, problem = True, ""
            except StoreError as error:
                is_up, problem = False, str(error)
            if is_up != was_up:
                log_event("store.up" if is_up else "store.down", level="info" if is_up else "error", message=problem)
            was_up = is_up
            self.metrics.set_store_up(is_up)
            self.metrics.flush()
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Let go of the providers' connections; the store is its opener's to close."""
        for provider in self._policies.providers.values():
            provider.close()

    def _take_new_config(self) -> None:
        config = self._new_config()
        if config is not None:
            self._policies = self._with_providers(config)
            log_event("config.loaded", applications=len(config.applications))

    def _with_providers(self, config: Config) -> Policies:
        """Providers whose settings did not change keep their keys and connections."""
        old, unchanged = self._policies, {}
        known = {provider.id: provider for provider in old.config.identity_providers}
        for id_, provider in old.providers.items():
            if known[id_] in config.identity_providers:
                unchanged[id_] = provider
            else:
                provider.close()
        providers = {
            each.id: unchanged.get(each.id) or self._create(config, each) for each in config.identity_providers
        }
        return Policies(config, build_index(config), providers)

    def _create(self, config: Config, provider: IdentityProviderConfig) -> Provider:
        return create_provider(
            provider,
            client_secret=_load_client_secret(provider),
            redirect_uri=f"https://{config.team_domain}{config.path_prefix}/callback",
            clock=self.clock,
            may_refetch=self._may_refetch,
            shared_key_sets=self.records,
        )

    async def _may_refetch(self, provider_id: str) -> bool:
        """At most one fetch of a provider's keys for an unknown key id, in 30 s, over all workers."""
        try:
            count = await self.store.count(
                "key_set_refetch", provider_id, now=int(self.clock()), window_seconds=_REFETCH_SECONDS
            )
        except StoreError:
            return False
        return count == 1

    def _login_limits(self) -> tuple[int, int, int]:
        limits = self._policies.config.login_rate_limit
        return limits.per_address, limits.per_person, limits.window_seconds


def _load_client_secret(provider: IdentityProviderConfig) -> str | None:
    """The client secret from its file or variable; None for a public client. Raises SecretError, without the secret."""
    name = provider.client_secret_env
    if name is not None:
        if not os.environ.get(name):
            raise SecretError(f"identity provider {provider.id}: the environment has no {name}")
        return os.environ[name]
    if provider.client_secret_file is None:
        return None
    try:
        return Path(provider.client_secret_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"identity provider {provider.id}: {provider.client_secret_file} cannot be read"
        raise SecretError(f"{sentence} ({type(error).__name__})") from error


def _report_broken_row(kind: str) -> None:
    log_event("store.broken_row", level="error", kind=kind, message="a row was not sealed by us; treated as missing")


class _Lifespan:
    """Starts the worker's upkeep with the first event loop and stops it with the last request."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._task: asyncio.Task[None] | None = None

    async def process_startup(self, scope: object, event: object) -> None:
        """See the class. A store that does not answer yet stops nobody from starting: the loop tries again."""
        try:
            await self._worker.start()
        except StoreError as error:
            log_event("store.down", level="error", message=str(error))
        self._task = asyncio.create_task(self._worker.run())

    async def process_shutdown(self, scope: object, event: object) -> None:
        """See the class."""
        if self._task:
            self._task.cancel()
        self._worker.close()
        await self._worker.store.close()


def create_app(worker: Worker, *, listener_secret: str | None = None) -> App:
    """Join the parts of a worker into an application. Paths are authd's own: nginx rewrites the visitor's to them."""
    config = worker.policies().config
    pages = Pages(config.path_prefix)
    answers = Answers(pages, path_prefix=config.path_prefix, origin_of=worker.public_origin)
    middleware: list[Any] = [RefuseByDefault(), _Lifespan(worker)]
    if listener_secret:
        middleware.insert(1, ListenerSecret(listener_secret))
    app: App = falcon.asgi.App(middleware=middleware)
    ErrorHandlers(answers).add_to(app)
    _add_check_routes(app, worker, answers)
    _add_application_host_routes(app, worker, answers)
    _add_team_host_routes(app, worker, answers)
    _add_public_routes(app, worker, pages)
    return app


def _add_check_routes(app: App, worker: Worker, answers: Answers) -> None:
    decisions = DecisionLog(clock=worker.clock)
    app.add_route("/auth", CheckResource(worker.access, decisions, worker.metrics))
    app.add_sink(Challenge(worker.access, worker.login, answers), r"/challenge\Z")


def _add_application_host_routes(app: App, worker: Worker, answers: Answers) -> None:
    host = ApplicationHost(
        policies=worker.policies,
        access=worker.access,
        login=worker.login,
        sessions=worker.sessions,
        answers=answers,
    )
    for name in ("login", "authorized", "logout", "get-identity"):
        app.add_route(f"/app/{name}", host, suffix=name.replace("-", "_"))


def _add_team_host_routes(app: App, worker: Worker, answers: Answers) -> None:
    host = TeamHost(
        policies=worker.policies,
        login=worker.login,
        sessions=worker.sessions,
        answers=answers,
        metrics=worker.metrics,
    )
    app.add_route("/team/", host, suffix="home")
    app.add_route("/team/login/{host}", host, suffix="login")
    for name in ("callback", "logout", "get-identity"):
        app.add_route(f"/team/{name}", host, suffix=name.replace("-", "_"))


def _add_public_routes(app: App, worker: Worker, pages: Pages) -> None:
    certs, style = Certs(worker.keyring, worker.clock), StyleSheet(pages)
    for side in ("app", "team"):
        app.add_route(f"/{side}/certs", certs)
        app.add_route(f"/{side}/style.css", style)
    health = Health(worker.problems)
    app.add_route("/healthz", health, suffix="healthz")
    app.add_route("/readyz", health, suffix="readyz")
    app.add_route("/metrics", MetricsResource(worker.metrics))


def load_listener_secret(path: Path | None) -> str | None:
    """The secret that nginx sends over TCP, None without a file."""
    return path.read_text("ascii").strip() if path else None
