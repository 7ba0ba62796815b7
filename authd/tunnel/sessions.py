"""Which sessions of origins are alive, as the kernel knows it.

A session of sshd runs as its origin's user, which nothing else does, and the kernel says who a process is: no origin
can pass for another, and nothing that an origin sends is believed. The process holds its connection and its sockets.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

PROC = Path("/proc")
# Four answers in a row that did not come: some three seconds on a near line, more on a far one.
DEAD_AFTER_RETRANSMISSIONS = 4
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_UID = re.compile(rb"^Uid:\s+(\d+)\s+(\d+)", re.MULTILINE)
# The user stands in the first ten lines.
_STATUS_BYTES = 1024
_ESTABLISHED = "01"
_RETRANSMITTING = "01"
_LISTENING = 0x10000


@dataclass(frozen=True, slots=True)
class Session:
    """One connection. `since` in Unix seconds; `sockets` such as `/live/1.sock`; `is_dead` if nobody answers."""

    pid: int
    uid: int
    since: float
    address: str
    sockets: tuple[str, ...]
    is_dead: bool


def list_processes(uid: int) -> tuple[int, ...]:
    """The processes of a user."""
    return tuple(pid for pid in _list_pids() if _read_uid(pid) == uid)


def list_sessions(uids: frozenset[int]) -> tuple[Session, ...]:
    """The sessions of these users that have a connection. Needs root, or CAP_SYS_PTRACE."""
    found = ((pid, _read_uid(pid)) for pid in _list_pids())
    sessions = (_find_session(pid, uid) for pid, uid in found if uid in uids)
    return tuple(session for session in sessions if session)


def end_process(pid: int, uid: int) -> bool:
    """Ask a process to end, if it is still one of that user; False if it is not."""
    try:
        # The descriptor stays with the process that we looked at, should its number be given away meanwhile.
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if _read_uid(pid) != uid:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _list_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def _read_uid(pid: int) -> int | None:
    try:
        # The owner of /proc/PID is root for what may not be dumped, such as sshd; the status tells the truth.
        descriptor = os.open(f"{PROC}/{pid}/status", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Once a second for each process of the machine: without a path object, a file object and the text of the rest.
    try:
        found = _UID.search(os.read(descriptor, _STATUS_BYTES))
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    return int(found[2]) if found and found[1] == found[2] else None


def _find_session(pid: int, uid: int | None) -> Session | None:
    try:
        inodes = _read_sockets(pid)
        connection = next((row for row in _read_tcp(pid) if row[0] in inodes), None)
        if uid is None or connection is None:
            return None
        sockets = tuple(sorted(path for inode, path in _read_listeners(pid) if inode in inodes))
        return Session(pid, uid, _read_start(pid), connection[1], sockets, connection[2])
    except (FileNotFoundError, ProcessLookupError):
        # It ended while we looked.
        return None


def _read_sockets(pid: int) -> frozenset[int]:
    directory = PROC / str(pid) / "fd"
    links = (_SOCKET.fullmatch(os.readlink(directory / name)) for name in os.listdir(directory))
    return frozenset(int(link[1]) for link in links if link)


def _read_tcp(pid: int) -> Iterator[tuple[int, str, bool]]:
    """Inode, peer and whether it is dead, of the established connections in the process' network namespace."""
    for family in ("tcp", "tcp6"):
        path = PROC / str(pid) / "net" / family
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        for fields in map(str.split, lines):
            if fields[3] == _ESTABLISHED:
                timer, retransmissions = fields[5].split(":")[0], int(fields[6], 16)
                is_dead = timer == _RETRANSMITTING and retransmissions >= DEAD_AFTER_RETRANSMISSIONS
                yield int(fields[9]), parse_peer(fields[2]), is_dead


def parse_peer(text: str) -> str:
    """`0202A8C0:01BB` of /proc/net/tcp to `192.168.2.2`. An IPv4 address inside an IPv6 one is shown as it is."""
    words = bytes.fromhex(text.partition(":")[0])
    # Each group of four bytes is in the order of the machine; all that we run on are little-endian.
    address = ip_address(b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4)))
    mapped: IPv4Address | None = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _read_listeners(pid: int) -> Iterator[tuple[int, str]]:
    for line in (PROC / str(pid) / "net" / "unix").read_text(errors="replace").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and int(fields[3], 16) & _LISTENING:
            yield int(fields[6]), fields[7]


def _read_start(pid: int) -> float:
    """When the process began, in Unix seconds."""
    # The name in parentheses may hold anything; what follows the last one is numbers.
    ticks = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    booted = re.search(r"^btime (\d+)", (PROC / "stat").read_text(), re.MULTILINE)
    return int(booted[1]) + ticks / os.sysconf("SC_CLK_TCK") if booted else 0.0
