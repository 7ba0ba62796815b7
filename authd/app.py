"""The composition root of HTTP: joins the parts of a worker into a falcon application, as gunicorn and tests use it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon.asgi

from authd.audit import DecisionLog, OutageLog, log_event
from authd.errors import IssuerUnavailableError, StoreError
from authd.middleware import ErrorHandlers, ListenerSecret, RefuseByDefault
from authd.resources.account_pages import AccountPages
from authd.resources.answers import Answers
from authd.resources.application_host import ApplicationHost
from authd.resources.challenge import Challenge
from authd.resources.check import CHECK_PATH, Check
from authd.resources.code_pages import CodePages
from authd.resources.pages import Pages
from authd.resources.public import Certs, Health, MetricsResource, StyleSheet
from authd.resources.team_host import TeamHost
from authd.worker import Worker

App = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]


class Application:
    """What gunicorn serves: the check past falcon, everything else through it."""

    def __init__(self, check: Check, app: App) -> None:
        self.check = check
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, or the life of the worker."""
        if scope["type"] == "http" and scope["path"] == CHECK_PATH:
            await self.check(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Lifespan:
    """Starts the worker's upkeep with the first event loop and stops it with the last request."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._task: asyncio.Task[None] | None = None

    async def process_startup(self, scope: object, event: object) -> None:
        """See the class. What fails here stops nobody from starting: the loop tries again.

        gunicorn would put another worker into the place of one that does not start, and so for ever.
        """
        try:
            await self._worker.start()
        except StoreError as error:
            log_event("store.down", level="error", message=str(error))
        except Exception as error:  # noqa: BLE001 - see above
            log_event("error.unhandled", level="error", exc_info=True, error=type(error).__name__)
        log_event("worker.started", pid=os.getpid())
        self._task = asyncio.create_task(self._worker.run())

    async def process_shutdown(self, scope: object, event: object) -> None:
        """See the class."""
        if self._task:
            self._task.cancel()
        await self._worker.stop()
        await self._worker.store.close()


def create_app(worker: Worker, *, listener_secret: str | None = None, pages: Pages | None = None) -> Application:
    """Join the parts of a worker into an application. Paths are authd's own: nginx rewrites the visitor's to them.

    `pages` are those of the configuration's prefix, if they are there already: they take a while to compile.
    """
    config = worker.policies().config
    pages = pages or Pages(config.path_prefix)
    answers = Answers(pages, path_prefix=config.path_prefix, origin_of=worker.public_origin)
    middleware: list[Any] = [RefuseByDefault(), _Lifespan(worker)]
    if listener_secret:
        middleware.insert(1, ListenerSecret(listener_secret))
    app: App = falcon.asgi.App(middleware=middleware)
    report = _report_outages(worker, OutageLog())
    ErrorHandlers(answers, on_outage=report).add_to(app)
    app.add_sink(Challenge(worker.access, worker.login, answers), r"/challenge\Z")
    _add_application_host_routes(app, worker, answers)
    _add_team_host_routes(app, worker, answers)
    _add_public_routes(app, worker, pages)
    decisions = DecisionLog(clock=worker.clock)
    check = Check(worker.access, decisions, worker.metrics, on_outage=report, listener_secret=listener_secret)
    return Application(check, app)


def _report_outages(worker: Worker, outages: OutageLog) -> Callable[[StoreError | IssuerUnavailableError, str], None]:
    """Tell the log, once an outage, and the worker, who looks whether the store is there at all."""

    def report(error: StoreError | IssuerUnavailableError, path: str) -> None:
        if isinstance(error, IssuerUnavailableError):
            return outages.report("issuer.unavailable", key=error.issuer, message=str(error), path=path)
        worker.suspect_store()
        return outages.report("store.error", key=error.code, reason=error.code, message=str(error), path=path)

    return report


def _add_application_host_routes(app: App, worker: Worker, answers: Answers) -> None:
    host = ApplicationHost(
        policies=worker.policies,
        access=worker.access,
        login=worker.login,
        logout=worker.logout,
        answers=answers,
    )
    for name in ("login", "authorized", "logout", "get-identity"):
        app.add_route(f"/app/{name}", host, suffix=name.replace("-", "_"))


def _add_team_host_routes(app: App, worker: Worker, answers: Answers) -> None:
    host = TeamHost(
        policies=worker.policies,
        login=worker.login,
        answers=answers,
        metrics=worker.metrics,
    )
    app.add_route("/team/login/{host}", host, suffix="login")
    for name in ("callback", "get-identity"):
        app.add_route(f"/team/{name}", host, suffix=name.replace("-", "_"))
    account = AccountPages(
        policies=worker.policies,
        login=worker.login,
        logout=worker.logout,
        sessions=worker.sessions,
        answers=answers,
        host=host,
    )
    app.add_route("/team/", account, suffix="home")
    for name in ("logout", "end-session", "backchannel-logout"):
        app.add_route(f"/team/{name}", account, suffix=name.replace("-", "_"))
    codes = CodePages(worker.pin_login, host)
    for name in ("verify-code", "resend-code"):
        app.add_route(f"/team/{name}", codes, suffix=name.replace("-", "_"))


def _add_public_routes(app: App, worker: Worker, pages: Pages) -> None:
    certs, style = Certs(worker.keyring, worker.clock), StyleSheet(pages)
    for side in ("app", "team"):
        if worker.policies().config.team_domain:
            # Who only verifies has no keys of their own.
            app.add_route(f"/{side}/certs", certs)
        app.add_route(f"/{side}/style.css", style)
    health = Health(worker.problems)
    app.add_route("/healthz", health, suffix="healthz")
    app.add_route("/readyz", health, suffix="readyz")
    app.add_route("/metrics", MetricsResource(worker.metrics))


def load_listener_secret(path: Path | None) -> str | None:
    """The secret that nginx sends over TCP, None without a file."""
    return path.read_text("ascii").strip() if path else None
