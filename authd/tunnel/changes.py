"""Adding and revoking origins on an edge: the Unix user, the key, the directory of sockets."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from authd.errors import TunnelError
from authd.nginx_files import write_files
from authd.tunnel.origins import Origin, find_origin, load_origins, render_authorized_key, render_origin
from authd.tunnel.sessions import end_process, list_processes

# A connection that passed the check of its key just before is a session a moment later.
_SWEEP_SECONDS = 2.0


def add_origin(origin: Origin, directory: Path, run_directory: Path, *, group: str) -> bool:
    """Make or change an origin; True if anything was new. Raises TunnelError, or OSError without the rights.

    The key comes last: nobody gets in before the fence stands. A key that changed ends the sessions of the old one.
    """
    before = find_origin(directory, origin.name)
    if before is not None and before.engine != origin.engine:
        raise TunnelError(f"{origin.name} is an origin of {before.engine}; revoke it first")
    _require_own_address(origin, directory)
    if origin.engine == "ssh":
        make_account(origin)
        make_sockets(origin, run_directory, group=group)
    changed = list(write_files({f"{origin.name}.json": render_origin(origin)}, directory / "origins"))
    if origin.engine == "ssh":
        changed += write_files({origin.user: render_authorized_key(origin)}, directory / "keys")
        if before is not None and before.public_key != origin.public_key:
            end_sessions(origin)
    # sshd reads keys as the origin's user, whatever our umask is.
    for name in ("", "origins", "keys"):
        if (directory / name).is_dir():
            (directory / name).chmod(0o755)
    return bool(changed)


def revoke_origin(name: str, directory: Path, run_directory: Path) -> int:
    """Remove the key, end the sessions, remove the rest; the number of sessions that ended. Raises TunnelError."""
    origin = find_origin(directory, name)
    if origin is None:
        raise TunnelError(f"there is no origin {name!r}; authd tunnel list shows them")
    (directory / "keys" / origin.user).unlink(missing_ok=True)
    ended = end_sessions(origin) if origin.engine == "ssh" else remove_peer(origin)
    shutil.rmtree(run_directory / origin.user, ignore_errors=True)
    (directory / "origins" / f"{name}.json").unlink(missing_ok=True)
    return ended


def make_account(origin: Origin) -> None:
    """The user of an origin, unless it is there. Raises TunnelError."""
    try:
        found = pwd.getpwnam(origin.user)
    except KeyError:
        # "*" and not "!": sshd without PAM takes "!" for a locked account, and lets no key in.
        command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--password", "*"]
        done = subprocess.run(
            [*command, "--shell", "/usr/sbin/nologin", origin.user], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise TunnelError(f"useradd {origin.user}: {done.stderr.strip()}") from None
        return
    if found.pw_uid == 0 or found.pw_shell != "/usr/sbin/nologin":
        raise TunnelError(f"the user {origin.user} is there and is none of ours: its shell is {found.pw_shell}")


def make_sockets(origin: Origin, run_directory: Path, *, group: str) -> None:
    """The directory that the origin's session is locked into, and in it the one that takes sockets.

    nginx enters through the group; nobody else does, and nginx cannot write.
    """
    cage = run_directory / origin.user
    live = cage / "live"
    live.mkdir(parents=True, exist_ok=True)
    for directory in (run_directory, cage):
        directory.chmod(0o755)
    shutil.chown(live, origin.user, group)
    live.chmod(0o2710)


def end_sessions(origin: Origin) -> int:
    """End every session of an origin; looks again until none came up late."""
    ended: set[int] = set()
    deadline = time.monotonic() + _SWEEP_SECONDS
    while time.monotonic() < deadline:
        ended |= end_sessions_once(origin.user)
        time.sleep(0.1)
    return len(ended)


def end_sessions_once(user: str) -> set[int]:
    """End what runs as the origin's user now; the processes that were told to."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return set()
    return {pid for pid in list_processes(uid) if end_process(pid, uid)}


def remove_peer(origin: Origin) -> int:
    """Take a WireGuard peer out of the running interface; 1 if it was there."""
    if not os.path.exists("/sys/class/net/wg-authd"):
        return 0
    command = ["wg", "set", "wg-authd", "peer", origin.public_key, "remove"]
    return int(subprocess.run(command, capture_output=True, check=False).returncode == 0)


def _require_own_address(origin: Origin, directory: Path) -> None:
    for other in load_origins(directory):
        if other.name == origin.name:
            continue
        if other.public_key == origin.public_key:
            raise TunnelError(f"{other.name} has the same public key; every origin makes a key of its own")
        if origin.address and other.address == origin.address:
            raise TunnelError(f"{other.name} has the address {origin.address} already")
