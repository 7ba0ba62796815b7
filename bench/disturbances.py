"""A reload, a worker's death and a key rotation under load: no request may fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.installation import HOST, Installation, run_installation
from bench.load import run_wrk

_PAUSE_SECONDS = 1.5


def measure_disturbances(directory: Path) -> list[dict[str, Any]]:
    """For each disturbance, how many requests were made and how many failed. Two workers, nothing cached."""
    with run_installation(directory / "disturbed", workers=2) as installation:
        return [_disturb(installation, what, action) for what, action in _DISTURBANCES.items()]


def holds(line: dict[str, Any]) -> bool:
    """Whether nobody noticed."""
    return not line["failed"]


def render_line(line: dict[str, Any]) -> str:
    """One measurement as a person reads it."""
    return f"{line['what']} under load: {line['failed']} of {line['requests']:,} requests failed (none may)"


def _disturb(installation: Installation, what: str, action: Callable[[Installation], None]) -> dict[str, Any]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(
            run_wrk, installation.port, host=HOST, seconds=int(4 * _PAUSE_SECONDS), cookie=installation.cookie
        )
        time.sleep(_PAUSE_SECONDS)
        action(installation)
        load = running.result()
    return {"what": what, "requests": load.requests, "failed": load.errors}


def _reload(installation: Installation) -> None:
    os.kill(installation.server.pid, signal.SIGHUP)


def _end_worker(installation: Installation) -> None:
    os.kill(installation.find_workers()[0], signal.SIGTERM)


def _kill_worker(installation: Installation) -> None:
    os.kill(installation.find_workers()[0], signal.SIGKILL)


def _rotate_keys(installation: Installation) -> None:
    command = [sys.executable, "-m", "authd.cli", "keys", "rotate", "--now", "--config", str(installation.config_path)]
    subprocess.run(command, check=True, capture_output=True)


_DISTURBANCES = {
    "a reload": _reload,
    "a worker that ends": _end_worker,
    "a worker that is killed": _kill_worker,
    "a key rotation": _rotate_keys,
}
