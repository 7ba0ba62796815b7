"""Is a port free, and if it is not, whose is it?"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.demo.settings import DemoError

_LISTENING = "0A"  # state of a line in /proc/net/tcp, see proc(5)


def require_free_port(port: int, setting: str, hosts: Sequence[str] = ("127.0.0.1", "::1")) -> None:
    """Raises DemoError unless the port is free on each of `hosts`; it names the owner where that can be known."""
    for host in hosts:
        reason = _find_obstacle(host, port)
        if reason == errno.EACCES:
            raise DemoError(f"Port {port} may be used by root only; choose another: {setting}=8443 make demo")
        if reason == errno.EADDRINUSE:
            owner = find_port_owner(port) or "another program (one of another user, perhaps)"
            raise DemoError(
                f"Port {port} is taken by {owner}. End that, or choose another port: {setting}={port + 1000} make demo"
            )


def has_ipv6() -> bool:
    """Whether a server can listen on [::1]."""
    return _find_obstacle("::1", 0) is None


def _find_obstacle(host: str, port: int) -> int | None:
    """Why a server cannot listen there, as an errno, or None if it can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        return error.errno
    return None


def find_port_owner(port: int) -> str | None:
    """The listener's name and process id, from /proc; None where it belongs to another user or cannot be read."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        if _open_files(process) & inodes:
            return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None


def _open_files(process: Path) -> set[str]:
    files = set()
    # Processes and descriptors come and go while they are looked at, and those of others cannot be.
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                files.add(str(descriptor.readlink()))
    return files


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes
