"""The watch over an edge's tunnels: each second it asks the kernel, cuts what is dead or revoked, writes the status.

sshd itself asks a silent client whether it lives only while nothing at all happens in the session: with requests
arriving, a dead one stays for minutes, and nginx keeps sending into it.
"""

from __future__ import annotations

import logging
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from authd.nginx_files import write_files
from authd.tunnel.origins import Origin, load_origins
from authd.tunnel.sessions import Session, end_process, list_sessions
from authd.tunnel.status import OriginStatus, Status, render_status

PERIOD_SECONDS = 1.0
# WireGuard makes a new handshake every two minutes while anything is sent, and keepalives are.
MAX_HANDSHAKE_SECONDS = 180
_log = logging.getLogger(__name__)


class Watch:
    """Remembers since when each origin is connected; everything else it asks anew each time."""

    def __init__(self, directory: Path, run_directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._directory, self._run_directory, self._clock = directory, run_directory, clock
        self._since: dict[str, float] = {}

    def run(self) -> None:
        """Until killed."""
        while True:
            self.look()
            time.sleep(PERIOD_SECONDS)

    def look(self) -> Status:
        """One round."""
        origins = load_origins(self._directory)
        accounts = {each.pw_uid: each.pw_name for each in pwd.getpwall() if each.pw_name.startswith("tun-")}
        known = {origin.user for origin in origins if (self._directory / "keys" / origin.user).exists()}
        live = [
            session
            for session in list_sessions(frozenset(accounts))
            if not self._cut(session, accounts[session.uid], known)
        ]
        peers = read_peers() if any(origin.engine == "wireguard" for origin in origins) else {}
        status = Status(
            self._clock(),
            socket.gethostname(),
            tuple(self._look_at(origin, live, accounts, peers) for origin in origins),
        )
        write_files({"status.json": render_status(status)}, self._run_directory)
        return status

    def _cut(self, session: Session, user: str, known: Iterable[str]) -> bool:
        why = "revoked" if user not in known else "no answer" if session.is_dead else ""
        if not why or not end_process(session.pid, session.uid):
            return False
        _log.warning("tunnel of %s from %s cut: %s", user.removeprefix("tun-"), session.address, why)
        return True

    def _look_at(
        self, origin: Origin, live: list[Session], accounts: dict[int, str], peers: dict[str, tuple[str, int]]
    ) -> OriginStatus:
        if origin.engine == "wireguard":
            return self._look_at_peer(origin, peers)
        own = [session for session in live if accounts[session.uid] == origin.user]
        # A session that has not opened its socket yet, or lost it to another, carries nothing.
        sockets = {path for session in own for path in session.sockets}
        return OriginStatus(
            origin.name,
            origin.engine,
            wanted=origin.connections,
            connections=len(sockets),
            since=self._remember(origin.name, min((each.since for each in own), default=0.0) if sockets else None),
            addresses=tuple(sorted({session.address for session in own})),
            sockets=tuple(sorted(sockets)),
        )

    def _look_at_peer(self, origin: Origin, peers: dict[str, tuple[str, int]]) -> OriginStatus:
        address, shaken_at = peers.get(origin.public_key, ("", 0))
        is_up = self._clock() - shaken_at < MAX_HANDSHAKE_SECONDS
        since = self._remember(origin.name, float(shaken_at) if is_up else None)
        addresses = (address,) if is_up else ()
        return OriginStatus(origin.name, origin.engine, 1, int(is_up), since, addresses, ())

    def _remember(self, name: str, since: float | None) -> float | None:
        if since is None:
            self._since.pop(name, None)
            return None
        # Connections come and go one by one; the origin is connected since the first of an unbroken row.
        self._since[name] = min(since, self._since.get(name, since))
        return self._since[name]


def read_peers() -> dict[str, tuple[str, int]]:
    """Of each WireGuard peer by its key: the address that it was last seen at, the Unix time of its last handshake."""
    try:
        done = subprocess.run(
            ["wg", "show", "wg-authd", "dump"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = [line.split("\t") for line in done.stdout.splitlines()[1:]]
    return {row[0]: (row[2].rpartition(":")[0].strip("[]"), int(row[4])) for row in rows if len(row) >= 5}
