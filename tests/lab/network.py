"""A network of the lab's own: a switch, to which every machine has one cable, and the operator's seat at the switch.

Nothing leads out of it, and nothing of it is seen on the machine that the lab runs on.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NETWORK = "198.18.50"
OPERATOR = 1
_labs = itertools.count()


@dataclass(frozen=True, slots=True)
class Network:
    """`prefix` begins the names of all network namespaces; `numbers` are the last bytes of the hosts' addresses."""

    prefix: str
    numbers: Mapping[str, int]

    @property
    def switch(self) -> str:
        """The namespace of the switch, in which the operator's commands run."""
        return f"{self.prefix}switch"

    def namespace(self, host: str) -> str:
        return f"{self.prefix}{host}"

    def address(self, host: str) -> str:
        return f"{NETWORK}.{self.numbers[host]}"

    def as_operator(self, *command: str) -> list[str]:
        """The command line that runs a command at the operator's seat."""
        return ["ip", "netns", "exec", self.switch, *command]

    def on(self, host: str, *command: str) -> list[str]:
        """The command line that runs a command on a host's cable, though not among its files."""
        return ["ip", "netns", "exec", self.namespace(host), *command]

    @contextlib.contextmanager
    def cut(self, *hosts: str, seconds: float = 0) -> Iterator[None]:
        """The cables of these hosts are out, for so many seconds at least and until the block ends."""
        until = time.monotonic() + seconds
        for host in hosts:
            _ip("-n", self.switch, "link", "set", _port(host), "down")
        try:
            yield
            time.sleep(max(0, until - time.monotonic()))
        finally:
            for host in hosts:
                _ip("-n", self.switch, "link", "set", _port(host), "up")


@contextlib.contextmanager
def wired(numbers: Mapping[str, int], names: Mapping[str, str]) -> Iterator[Network]:
    """The cables of all hosts, with nothing running. `names` are further names, each with the host that has it."""
    network = Network(f"lab{os.getpid()}x{next(_labs)}-", numbers)
    try:
        _ip("netns", "add", network.switch)
        _ip("-n", network.switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", network.switch, "addr", "add", f"{NETWORK}.{OPERATOR}/24", "dev", "switch")
        _set_up(network.switch, ["lo", "switch"])
        for host in numbers:
            _plug_in(network, host)
            _write_hosts(network.namespace(host), render_hosts(network, names))
        _write_hosts(network.switch, render_hosts(network, names))
        yield network
    finally:
        for namespace in (network.switch, *map(network.namespace, numbers)):
            _end_processes(namespace)
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
            shutil.rmtree(_etc(namespace), ignore_errors=True)


def render_hosts(network: Network, names: Mapping[str, str]) -> str:
    """The text of /etc/hosts, the same for everybody."""
    known = {**{host: host for host in network.numbers}, **names}
    return "127.0.0.1 localhost\n" + "".join(f"{network.address(host)} {name}\n" for name, host in known.items())


def _plug_in(network: Network, host: str) -> None:
    namespace = network.namespace(host)
    _ip("netns", "add", namespace)
    cable = ["link", "add", _port(host), "type", "veth", "peer", "name", "eth0", "netns", namespace]
    _ip("-n", network.switch, *cable)
    _ip("-n", network.switch, "link", "set", _port(host), "master", "switch")
    _ip("-n", namespace, "addr", "add", f"{network.address(host)}/24", "dev", "eth0")
    _set_up(network.switch, [_port(host)])
    _set_up(namespace, ["lo", "eth0"])


def _port(host: str) -> str:
    return f"v-{host}"


def _set_up(namespace: str, devices: Sequence[str]) -> None:
    for device in devices:
        _ip("-n", namespace, "link", "set", device, "up")


def _etc(namespace: str) -> Path:
    return Path("/etc/netns") / namespace


def _write_hosts(namespace: str, text: str) -> None:
    """`ip netns exec` lays it over /etc/hosts."""
    _etc(namespace).mkdir(parents=True)
    (_etc(namespace) / "hosts").write_text(text)


def _end_processes(namespace: str) -> None:
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)
