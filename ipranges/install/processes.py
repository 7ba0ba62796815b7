"""Which nginx runs here, with which configuration, and which workers it has: read from /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from itertools import pairwise
from pathlib import Path
from typing import Any

import crossplane

from ipranges.targets.marker import MARK

_DEFAULT_CONFIG = "/etc/nginx/nginx.conf"
_MASTER_TITLE = "nginx: master process"
_WORKER_TITLE = "nginx: worker process"


@dataclass(frozen=True, slots=True)
class NginxMaster:
    """One running master. `config` is the file that it was started with."""

    pid: int
    config: str

    def find_workers(self) -> frozenset[int]:
        """The workers that take new connections; one that shuts down has another title."""
        titles = {pid: _read_title(pid) for pid in _list_processes() if _parent_of(pid) == self.pid}
        return frozenset(pid for pid, title in titles.items() if title == _WORKER_TITLE)


def find_masters() -> list[NginxMaster]:
    """All masters that can be seen from here."""
    found = []
    for pid in _list_processes():
        title = _read_title(pid)
        if title.startswith(_MASTER_TITLE):
            found.append(NginxMaster(pid, _config_of(title)))
    # A worker bears its master's title for an instant after it was forked.
    pids = {master.pid for master in found}
    return [master for master in found if _parent_of(master.pid) not in pids]


def find_master_of(pid_file: Path) -> NginxMaster | None:
    """The master that a pid file names, if it runs."""
    try:
        pid = int(pid_file.read_text().strip())
    except (OSError, ValueError):
        return None
    title = _read_title(pid)
    return NginxMaster(pid, _config_of(title)) if title.startswith(_MASTER_TITLE) else None


def reads_any_of(master: NginxMaster, paths: frozenset[str]) -> bool:
    """Whether a master's configuration includes one of `paths`, directly or through other files.

    A configuration that cannot be read counts as one that does: better a reload too many.
    """
    wanted = {os.path.realpath(path) for path in paths}
    prefix = str(Path(master.config).parent)
    seen: set[str] = set()
    waiting = [master.config]
    while waiting:
        current = os.path.realpath(waiting.pop())
        if current in wanted:
            return True
        if current in seen or _is_generated(current):
            continue
        seen.add(current)
        includes = _find_includes(current)
        if includes is None:
            return True
        for pattern in includes:
            full = pattern if pattern.startswith("/") else f"{prefix}/{pattern}"
            waiting += glob(full) or [full]
    return False


def _find_includes(path: str) -> list[str] | None:
    if not Path(path).exists():
        return []
    parsed = crossplane.parse(path, single=True, catch_errors=True, check_ctx=False, check_args=False)
    if parsed["errors"]:
        return None
    return list(_walk_includes(parsed["config"][0]["parsed"]))


def _walk_includes(block: list[dict[str, Any]]) -> Iterator[str]:
    for directive in block:
        if directive["directive"] == "include" and directive["args"]:
            yield directive["args"][0]
        yield from _walk_includes(directive.get("block", []))


def _is_generated(path: str) -> bool:
    # Our own lists include nothing, and one of 100,000 lines takes seconds to parse.
    try:
        with open(path, "rb") as file:
            return MARK.encode() in file.read(400)
    except OSError:
        return False


def _config_of(title: str) -> str:
    words = title.removeprefix(_MASTER_TITLE).split()
    options = dict(pairwise(words))
    config = options.get("-c", _DEFAULT_CONFIG)
    return config if config.startswith("/") else f"{options.get('-p', '/etc/nginx').rstrip('/')}/{config}"


def _list_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read_title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _parent_of(pid: int) -> int:
    try:
        match = re.search(r"^PPid:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
