"""Network namespaces of our own: nothing of a test's firewall touches the machine's."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()


def run(*command: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60, input=text)


def require_programs(*names: str) -> None:
    """Skip unless every program is installed."""
    missing = [name for name in names if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def require_namespaces() -> None:
    """Skip unless this is real root that may make network namespaces."""
    require_programs("ip", "nft")
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network namespace")
    name = f"ipr-{os.getpid()}-probe"
    if run("ip", "netns", "add", name, check=False).returncode:
        pytest.skip("`ip netns add` is not permitted here")
    run("ip", "netns", "del", name)


def new_name() -> str:
    """A name that no other test and no other run has; short enough for a device."""
    return f"ipr{os.getpid() % 100000}x{next(_numbers)}"


@contextmanager
def made_namespace() -> Iterator[str]:
    """A namespace with its loopback up, by `ip netns`."""
    name = new_name()
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "del", name)


@contextmanager
def entered(name: str) -> Iterator[None]:
    """This thread, and all that it starts, in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(there, _CLONE_NEWNET) != 0:
            pytest.skip("setns is not permitted here")
        yield
    finally:
        libc.setns(home, _CLONE_NEWNET)
        os.close(home)
        os.close(there)


def list_table(table: str = "ipranges") -> str:
    """nft's print of one table in the namespace that we are in; empty where there is none."""
    return run("nft", "-s", "list", "table", "inet", table, check=False).stdout
