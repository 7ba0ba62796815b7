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
    """One running master. `config` is the file that it was started with, as it sees it."""

    pid: int
    config: str

    @property
    def root(self) -> str:
        """What to put before its paths, so that they mean what they mean to it; nothing where we may not look.

        A container's /etc/nginx is another one than ours, and so is the host's to a unit with PrivateTmp.
        """
        root = f"/proc/{self.pid}/root"
        return root if os.access(f"{root}/.", os.R_OK | os.X_OK) else ""

    def find_workers(self) -> frozenset[int]:
        """The workers that take new connections; one that shuts down has another title."""
        titles = {pid: _read_title(pid) for pid in _list_processes() if _parent_of(pid) == self.pid}
        return frozenset(pid for pid, title in titles.items() if title == _WORKER_TITLE)


def find_masters() -> list[NginxMaster]:
    """All masters whose configuration can be looked at from here."""
    found = []
    for pid in _list_processes():
        title = _read_title(pid)
        if title.startswith(_MASTER_TITLE):
            found.append(NginxMaster(pid, _config_of(title)))
    # A worker bears its master's title for an instant after it was forked.
    pids = {master.pid for master in found}
    return [master for master in found if _parent_of(master.pid) not in pids and _is_readable(master)]


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

    Files are compared by what they are, not by name: in a container the directory may be mounted
    elsewhere. A configuration that cannot be read counts as one that does: better a reload too many.
    """
    root, prefix = master.root, str(Path(master.config).parent)
    wanted = {identity for path in paths if (identity := _identify(path))}
    seen: set[tuple[int, int]] = set()
    waiting = [root + master.config]
    while waiting:
        current = waiting.pop()
        identity = _identify(current)
        if identity in wanted:
            return True
        if identity is None or identity in seen or _is_generated(current):
            continue
        seen.add(identity)
        includes = _find_includes(current)
        if includes is None:
            return True
        for pattern in includes:
            full = root + (pattern if pattern.startswith("/") else f"{prefix}/{pattern}")
            waiting += glob(full) or [full]
    return False


def _is_readable(master: NginxMaster) -> bool:
    """Whether its files can be looked at: through its root, or because it lives where we do."""
    return bool(master.root) or len(_read_status(master.pid, "NSpid").split()) == 1


def _identify(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _find_includes(path: str) -> list[str] | None:
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
    return int(_read_status(pid, "PPid") or 0)


def _read_status(pid: int, field: str) -> str:
    try:
        match = re.search(rf"^{field}:\s+(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return match[1] if match else ""
