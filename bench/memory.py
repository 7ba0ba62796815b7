"""What a worker weighs after many sessions: its share of memory (PSS), everything that it remembers included."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.installation import HOST, Installation, run_installation
from bench.load import PATH

SESSIONS = 100_000
# Megabytes (issue 6).
MOST_MEGABYTES, AIM_MEGABYTES = 150, 80
_CONNECTIONS = 8


def measure_memory(directory: Path, sessions: int = SESSIONS) -> dict[str, Any]:
    """Megabytes of the worker before and after it has seen so many sessions."""
    with run_installation(directory / "memory", sessions=sessions) as installation:
        before = read_pss_megabytes(_only_worker(installation))
        shares = [installation.tokens[first::_CONNECTIONS] for first in range(_CONNECTIONS)]
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            seen = sum(pool.map(lambda tokens: _visit(installation.port, tokens), shares))
        return {
            "sessions": seen,
            "before_mb": before,
            "after_mb": read_pss_megabytes(_only_worker(installation)),
        }


def holds(found: dict[str, Any]) -> bool:
    """Whether the worker is as small as it must be."""
    return bool(found["after_mb"] <= MOST_MEGABYTES)


def render_line(found: dict[str, Any]) -> str:
    """The result as a person reads it."""
    return (
        f"a worker's memory (PSS): {found['before_mb']} MB at first, {found['after_mb']} MB after "
        f"{found['sessions']:,} sessions (at most {MOST_MEGABYTES}, aim {AIM_MEGABYTES})"
    )


def read_pss_megabytes(pid: int) -> int:
    """The memory of a process, what it shares with others divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1024


def _visit(port: int, tokens: Sequence[str]) -> int:
    """One request for each, one after the other on one connection. Raises RuntimeError for one that is refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for token in tokens:
        connection.request("GET", PATH, headers={"Host": HOST, "Cookie": f"CF_AUTHORIZATION={token}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a visitor was answered {answer.status}; the figure would mean nothing")
    connection.close()
    return len(tokens)


def _only_worker(installation: Installation) -> int:
    (worker,) = installation.find_workers()
    return worker
