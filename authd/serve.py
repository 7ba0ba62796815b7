"""`authd serve`: gunicorn around the application, with three things that gunicorn does not do by itself.

A reload (SIGHUP) validates the new file in the master and hands it to the workers as they run; gunicorn's own HUP
would start new workers on a file that nobody has looked at, and halt with a bad one. And a worker that is started
later gets the last good configuration (`config_slot`), not whatever lies on disk by then. For an upgrade under load
see `serve_master`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import grp
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from prometheus_client.multiprocess import mark_process_dead

from authd import __version__
from authd.app import Application, create_app, load_listener_secret
from authd.audit import configure_logging, log_event
from authd.config import Config, load_config
from authd.config_slot import ConfigSlot, LoadedConfig
from authd.errors import ConfigError, ConfigMistake, SecretError, StoreError, StoreUnavailableError
from authd.metrics import Metrics
from authd.providers import load_client_secret
from authd.resources.pages import Pages
from authd.sealing import Sealer, load_sealer
from authd.serve_master import Master
from authd.serve_worker import ENDING_SIGNALS
from authd.sessions import POLL_SECONDS
from authd.state import Store, open_store
from authd.state.records import Records
from authd.worker import Worker

# nginx sends a 4 kB query as a 12 kB parameter, and attempts of several tabs in one Cookie header
# (reference/nginx-contract.md 6.6).
MAX_LINE_BYTES = 32_768
_START_PATIENCE_SECONDS = 5
# The collector walks young values at each thousand more of them, which takes a millisecond, and what has lived a little
# at each hundred thousand. As usual it would be ten times as often, with a walk over all that lives whenever a quarter
# has come new: a tenth of a second with ten thousand sessions, to find nothing (a check makes no circles).
_COLLECTOR_THRESHOLDS = (1_000, 100, 10)
# How long the thread that reads the store waits for the interpreter while the loop works: usually ten times as long,
# in which a busy worker runs out of sessions that it knows.
_SWITCH_SECONDS = 0.0005
# What a reload cannot change: the listener, the store, and what tokens and nginx' files rest on.
_FIXED_AT_START = (
    "listen",
    "listen_secret_file",
    "socket_group",
    "state",
    "secret_file",
    "workers",
    "team_domain",
    "path_prefix",
    "cookie_name",
    "decision_cache_seconds",
    "store_outage_grace",
)


class Server(BaseApplication):  # type: ignore[misc]
    """One `authd serve`."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self._path = config_path
        self._config = config
        self._slot = ConfigSlot(_with_secrets(config))
        self._client_secrets: Mapping[str, str | None] = {}
        self._sealer = load_sealer(config.secret_file)
        self._listener_secret = load_listener_secret(config.listen_secret_file)
        self._metrics = Metrics()
        self._serving_workers = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._serving_count = 0
        # Before there are workers, so that one that takes a dead one's place has them at once.
        self._pages = Pages(config.path_prefix)
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings. Each is named because its default is unsafe or too small for us."""
        config = self._config
        settings: dict[str, Any] = {
            "bind": config.listen,
            "workers": _worker_count(config.workers),
            "worker_class": "authd.serve_worker.PromptWorker",
            "asgi_loop": "uvloop",
            "asgi_lifespan": "on",
            "umask": 0o117,  # the socket is 0660; gunicorn's default is 0777
            "keepalive": 3600,  # nginx closes idle connections; when we do, a request may get lost
            "worker_connections": 4096,
            "backlog": 4096,
            "timeout": 30,
            "graceful_timeout": 10,
            "limit_request_line": MAX_LINE_BYTES,
            "limit_request_field_size": MAX_LINE_BYTES,
            "limit_request_fields": 60,
            "forwarder_headers": "",  # SCRIPT_NAME and PATH_INFO are nobody's to set
            "forwarded_allow_ips": "",
            "control_socket_disable": True,
            "access_log_format": "",
            "accesslog": None,
            "loglevel": "warning",
            "logger_class": "authd.serve_log.GunicornLogger",
            "when_ready": self._when_ready,
            "child_exit": _forget_metrics,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        """Called in each worker: make its parts from the last good configuration."""
        loaded = self._slot.read()
        self._client_secrets = loaded.client_secrets
        worker = Worker(
            loaded.config,
            store=_open_store_patiently(loaded.config.state),
            sealer=self._sealer,
            new_config=self._find_new_config,
            find_client_secret=lambda provider: self._client_secrets[provider.id],
        )
        app = create_app(worker, listener_secret=self._listener_secret, pages=self._pages)
        # What is there by now stays: a collector that walks the index of thousands of applications holds every request.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTOR_THRESHOLDS)
        sys.setswitchinterval(_SWITCH_SECONDS)
        return app

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        Master(self).run()

    def count_serving_worker(self) -> None:
        """Called in a worker, once it listens."""
        os.eventfd_write(self._serving_workers, 1)

    def are_workers_serving(self) -> bool:
        """Whether as many workers listen as were asked for."""
        with contextlib.suppress(BlockingIOError):
            self._serving_count += os.eventfd_read(self._serving_workers)
        return self._serving_count >= int(self.cfg.workers)

    def reload_config(self) -> None:
        """See `Master.handle_hup`."""
        try:
            config = load_config(self._path)
            loaded = _with_secrets(config)
        except SecretError as error:
            return self._refuse_config(message=f"{self._path}: {error}")
        except ConfigError as error:
            return self._refuse_config(source=str(self._path), mistakes=[str(mistake) for mistake in error.mistakes])
        fixed = _needs_restart(self._config, config)
        for name in fixed:
            log_event("config.needs_restart", level="warning", key=name)
        # Until then the running values stand: another team_domain, say, would mean other keys, and log everybody out.
        kept = config.model_copy(update={name: getattr(self._config, name) for name in fixed})
        self._slot.write(replace(loaded, config=kept))
        self._metrics.set_reload_successful(True)
        return log_event("config.accepted", source=str(self._path), applications=len(config.applications))

    def _refuse_config(self, **fields: Any) -> None:
        self._metrics.set_reload_successful(False)
        log_event("config.refused", level="error", **fields)

    def _find_new_config(self) -> Config | None:
        loaded = self._slot.find_new()
        if loaded is None:
            return None
        self._client_secrets = loaded.client_secrets
        return loaded.config

    def _when_ready(self, arbiter: Arbiter) -> None:
        """Give the socket to nginx' group. Until then nobody but our own user can use it."""
        if self._config.listen.startswith("unix:") and self._config.socket_group:
            os.chown(self._config.listen.removeprefix("unix:"), -1, grp.getgrnam(self._config.socket_group).gr_gid)
        log_event("server.ready", listen=self._config.listen, version=__version__, workers=self.cfg.workers)


def _with_secrets(config: Config) -> LoadedConfig:
    return LoadedConfig(config, {each.id: load_client_secret(each) for each in config.identity_providers})


def _needs_restart(running: Config, wanted: Config) -> list[str]:
    return [name for name in _FIXED_AT_START if getattr(running, name) != getattr(wanted, name)]


def _worker_count(workers: int | str) -> int:
    return (os.cpu_count() or 1) if workers == "auto" else int(workers)


def _forget_metrics(arbiter: Arbiter, worker: Any) -> None:
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def serve(config_path: Path) -> None:
    """Run until told to stop. Raises ConfigError, SecretError or StoreError before anything listens.

    Within `metrics_files.shared_metrics`, so that every worker's metrics count.
    """
    config = load_config(config_path)
    configure_logging()
    _check_group(config_path, config.socket_group)
    _prepare_state(config, load_sealer(config.secret_file))
    signal.signal(signal.SIGTERM, _exit)
    Server(config_path, config).run()


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _check_group(config_path: Path, name: str | None) -> None:
    try:
        if name:
            grp.getgrnam(name)
    except KeyError:
        mistake = ConfigMistake(0, "socket_group", "is no group of this machine", name or "")
        raise ConfigError(str(config_path), (mistake,)) from None


def _prepare_state(config: Config, sealer: Sealer) -> None:
    """Open the store and the keys once, so that a mistake is told at start and in one sentence.

    A machine that has just booted is busy with other things: a store that does not answer in time is asked again.
    """

    async def prepare() -> None:
        store = open_store(config.state)
        try:
            for warning in await store.check():
                log_event("store.unsafe", level="warning", message=warning)
            records = Records(store, sealer, on_broken=_ignore, clock=time.time)
            if not config.team_domain:
                return  # only verifies: nothing is signed here
            await records.load_keyring(team_domain=config.team_domain, now=int(time.time()))
        finally:
            await store.close()

    deadline = time.monotonic() + _START_PATIENCE_SECONDS
    while True:
        try:
            return asyncio.run(prepare())
        except StoreUnavailableError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def _open_store_patiently(state_url: str) -> Store:
    """For a worker that takes a dead one's place: a store that cannot be opened is an outage, and passes.

    gunicorn ends the whole service if a worker fails to start, the workers included that go on without the store.
    """
    is_told = False
    while True:
        try:
            return open_store(state_url, may_create=False)
        except StoreError as error:
            if not is_told:
                log_event("store.down", level="error", message=str(error))
            is_told = True
        if signal.sigpending() & ENDING_SIGNALS:
            sys.exit(0)
        time.sleep(POLL_SECONDS)


def _ignore(kind: str) -> None:
    """Broken rows are reported by the workers."""
