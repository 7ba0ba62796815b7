"""`authd serve`: gunicorn around the application, with two things that gunicorn does not do by itself.

A reload (SIGHUP) validates the new file in the master and hands it to the workers as they run; gunicorn's own HUP
would start new workers on a file that nobody has looked at, and halt with a bad one. And a worker that is started
later gets the last good configuration, not whatever lies on disk by then.
"""

from __future__ import annotations

import asyncio
import grp
import hashlib
import os
import shutil
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from authd import __version__
from authd.app import App, Worker, create_app, load_listener_secret
from authd.audit import configure_logging, log_event
from authd.config import Config, load_config, parse_config
from authd.errors import ConfigError
from authd.sealing import Sealer, load_sealer
from authd.state import open_store
from authd.state.records import Records

# nginx sends a 4 kB query as a 12 kB parameter, and attempts of several tabs in one Cookie header
# (reference/nginx-contract.md 6.6).
MAX_LINE_BYTES = 32_768
_HEADER = struct.Struct("<QQ32s")
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


class ConfigSlot:
    """The last good configuration, in memory that master and workers share: a text with a number that grows.

    Written by the master only. A reader that looks while it is written sees a checksum that does not fit, and looks
    again later.
    """

    def __init__(self, text: str) -> None:
        self._descriptor = os.memfd_create("authd-config")
        self._generation = 0
        self._read_generation = 0
        self.write(text)

    def write(self, text: str) -> None:
        """Put a new text into the slot."""
        content = text.encode()
        self._generation += 1
        os.pwrite(self._descriptor, content, _HEADER.size)
        header = _HEADER.pack(self._generation, len(content), hashlib.sha256(content).digest())
        os.pwrite(self._descriptor, header, 0)

    def read(self) -> str:
        """The text that stands there. Call it once at start, then `find_new`."""
        while (found := self.find_new()) is None:
            pass
        return found

    def find_new(self) -> str | None:
        """The text if it was written since this process last read it."""
        generation, length, digest = _HEADER.unpack(os.pread(self._descriptor, _HEADER.size, 0))
        if generation == self._read_generation:
            return None
        content = os.pread(self._descriptor, length, _HEADER.size)
        if hashlib.sha256(content).digest() != digest:
            return None
        self._read_generation = generation
        return content.decode()


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's master with our own idea of a reload."""

    def handle_hup(self) -> None:
        """Validate the file; a good one goes to the workers, a bad one is reported and changes nothing."""
        self.app.reload_config()


class Server(BaseApplication):  # type: ignore[misc]
    """One `authd serve`."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self._path = config_path
        self._config = config
        self._slot = ConfigSlot(config_path.read_text("utf-8"))
        self._sealer = load_sealer(config.secret_file)
        self._listener_secret = load_listener_secret(config.listen_secret_file)
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

    def load(self) -> App:
        """Called in each worker: make its parts from the last good configuration."""
        config = self._parse(self._slot.read())
        worker = Worker(
            config,
            store=open_store(config.state),
            sealer=self._sealer,
            new_config=self._find_new_config,
        )
        return create_app(worker, listener_secret=self._listener_secret)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        _Arbiter(self).run()

    def reload_config(self) -> None:
        """See `_Arbiter.handle_hup`."""
        try:
            text = self._path.read_text("utf-8")
            config = self._parse(text)
        except (OSError, UnicodeDecodeError) as error:
            return log_event("config.refused", level="error", message=f"{self._path}: {error}")
        except ConfigError as error:
            mistakes = [str(mistake) for mistake in error.mistakes]
            return log_event("config.refused", level="error", source=str(self._path), mistakes=mistakes)
        for name in _needs_restart(self._config, config):
            log_event("config.needs_restart", level="warning", key=name)
        self._slot.write(text)
        return log_event("config.accepted", source=str(self._path), applications=len(config.applications))

    def _find_new_config(self) -> Config | None:
        text = self._slot.find_new()
        return None if text is None else self._parse(text)

    def _parse(self, text: str) -> Config:
        return parse_config(text, source=str(self._path), base_dir=self._path.parent)

    def _when_ready(self, arbiter: Arbiter) -> None:
        """Give the socket to nginx' group. Until then nobody but our own user can use it."""
        if self._config.listen.startswith("unix:") and self._config.socket_group:
            os.chown(self._config.listen.removeprefix("unix:"), -1, grp.getgrnam(self._config.socket_group).gr_gid)
        log_event("server.ready", listen=self._config.listen, version=__version__, workers=self.cfg.workers)


def _needs_restart(running: Config, wanted: Config) -> list[str]:
    return [name for name in _FIXED_AT_START if getattr(running, name) != getattr(wanted, name)]


def _worker_count(workers: int | str) -> int:
    return (os.cpu_count() or 1) if workers == "auto" else int(workers)


def _forget_metrics(arbiter: Arbiter, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def serve(config_path: Path) -> None:
    """Run until told to stop. Raises ConfigError, SecretError or StoreError before anything listens."""
    config = load_config(config_path)
    configure_logging()
    _prepare_state(config, load_sealer(config.secret_file))
    with tempfile.TemporaryDirectory(prefix="authd-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        signal.signal(signal.SIGTERM, _exit)
        try:
            Server(config_path, config).run()
        finally:
            # Only the master cleans up: a worker leaves by os._exit in gunicorn's hands, or inherits this frame.
            shutil.rmtree(directory, ignore_errors=True)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _prepare_state(config: Config, sealer: Sealer) -> None:
    """Open the store and the keys once, so that a mistake is told at start and in one sentence."""

    async def prepare() -> None:
        store = open_store(config.state)
        try:
            records = Records(store, sealer, on_broken=_ignore, clock=time.time)
            await records.load_keyring(team_domain=config.team_domain, now=int(time.time()))
        finally:
            await store.close()

    asyncio.run(prepare())


def _ignore(kind: str) -> None:
    """Broken rows are reported by the workers."""
