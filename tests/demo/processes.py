"""Starts the parts one after the other, waits until each is ready, and ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.demo import leftovers
from tests.demo.settings import DemoError

READY_SECONDS = 20.0
STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LOG_LINES_SHOWN = 15
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedError(Exception):
    """Raised if somebody asks for the end (Ctrl-C, SIGTERM) while parts are still being started."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the demonstration. `is_ready` is asked until it says yes."""

    name: str
    command: tuple[str, ...]
    log: Path
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """Runs parts as process groups of their own, so that Ctrl-C reaches only the supervisor, which ends them in order.

    Used as a context: whatever happens inside, no part outlives the block. Should the supervisor itself be
    killed, the next one finds its parts by the records in `run_directory`.
    """

    def __init__(self, run_directory: Path) -> None:
        self._run_directory = run_directory
        self._running: list[tuple[Part, subprocess.Popen[bytes]]] = []
        self._stop = threading.Event()

    def __enter__(self) -> Supervisor:
        for number in _SIGNALS:
            signal.signal(number, lambda *_ignored: self._stop.set())
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for _part, process in reversed(self._running):
            _end_group(process)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        leftovers.forget(self._run_directory)

    def start(self, part: Part) -> None:
        """Raises DemoError with the end of the part's log if it ends or is not ready in time."""
        if self._stop.is_set():
            raise StoppedError
        process = self._spawn(part)
        deadline = time.monotonic() + READY_SECONDS
        while not part.is_ready():
            if process.poll() is not None:
                raise DemoError(f"{part.name} did not start (exit code {process.returncode}).\n{end_of_log(part.log)}")
            if time.monotonic() > deadline:
                raise DemoError(f"{part.name} was not ready within {READY_SECONDS:g} s.\n{end_of_log(part.log)}")
            if self._stop.wait(_POLL_SECONDS):
                raise StoppedError

    def wait(self) -> None:
        """Returns when somebody asks for the end. Raises DemoError when a part ends by itself."""
        while not self._stop.wait(_POLL_SECONDS * 4):
            for part, process in self._running:
                if process.poll() is not None:
                    code = process.returncode
                    raise DemoError(f"{part.name} ended by itself (exit code {code}).\n{end_of_log(part.log)}")

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        with part.log.open("wb") as log:
            process = subprocess.Popen(
                part.command,
                # Never written to: it ends when the supervisor does, however that happens, and the provider with it.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **part.environment},
            )
        self._running.append((part, process))
        leftovers.remember(self._run_directory, part.name, process.pid)
        return process


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Asks first, then kills; a worker that outlived its parent goes with the group."""
    process.terminate()
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    leftovers.kill_group(process.pid)


def end_of_log(log: Path) -> str:
    """The last lines of a part's log, indented, with the file's name before them."""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
    return "\n".join([f"The end of {log}:", *(f"    {line}" for line in lines or ["(nothing)"])])
