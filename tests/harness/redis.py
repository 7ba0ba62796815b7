"""Real servers of Redis on loopback, from Debian's `redis-server`: one, a trio of Sentinels, a Cluster of three.

Nothing is written to a disk but the configuration files that Sentinel and Cluster keep for themselves.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.demo.certificates import ensure_certificates
from tests.harness.nginx import find_free_port

PATIENCE_SECONDS = 20
SERVICE = "authd-master"
PASSWORD = "p@ss/word"
_DOCS = Path(__file__).parents[2] / "docs" / "redis.md"
# A clock of 100 Hz, so that a WAIT and a promotion are not up to 100 ms late.
_OPTIONS = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--hz", "100", "--repl-diskless-sync-delay", "0")


@dataclass(slots=True)
class RedisProcess:
    """One server. `restart` brings it back, empty, on the same port."""

    directory: Path
    port: int
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = ["redis-server", *self.arguments, "--port", str(self.port), "--dir", str(self.directory)]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it is up; one that wants a password is."""
        try:
            return bool(self.ask("PING"))
        except RedisError as error:
            return "uthentication" in str(error)

    def ask(self, *command: str | bytes | int, **options: Any) -> Any:
        """Run a command over a connection of its own. Raises RedisError."""
        settings = {"socket_timeout": 5, "retry": Retry(NoBackoff(), 0), "decode_responses": True} | options
        with Redis(host="127.0.0.1", port=self.port, **settings) as client:
            return client.execute_command(*command)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it at once. Stopping it twice is no error."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(timeout=10)
            self.process = None


@dataclass(frozen=True, slots=True)
class RedisServers:
    """What one address of the setting `state` stands for. `servers` hold data, `sentinels` watch them."""

    url: str
    servers: tuple[RedisProcess, ...]
    sentinels: tuple[RedisProcess, ...] = ()

    def find_master(self) -> RedisProcess:
        """The server that takes writes now, as the Sentinels have it."""
        if not self.sentinels:
            return self.servers[0]
        port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]
        return next(server for server in self.servers if server.port == int(port))

    def empty(self) -> None:
        """Throw away all data."""
        for server in self.servers:
            if server.ask("ROLE")[0] == "master":
                server.ask("FLUSHALL")


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until the condition holds. Fails if it never does."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(RedisError, OSError):
            if condition():
                return
        assert time.monotonic() < deadline, f"waited {seconds} s for {condition}"
        time.sleep(0.02)


@contextlib.contextmanager
def running_redis(directory: Path, *options: str) -> Iterator[RedisServers]:
    """A single server."""
    with contextlib.ExitStack() as cleanup:
        server = _start(cleanup, directory / "single", *_OPTIONS, *options)
        yield RedisServers(server.url, (server,))


@contextlib.contextmanager
def running_guarded_redis(directory: Path) -> Iterator[RedisServers]:
    """A single server over TLS, with authd as a user that has what docs/redis.md grants and nothing else.

    The server's own port, for `ask`, stays without TLS.
    """
    ensure_certificates(directory, ["localhost"])
    tls_port = find_free_port()
    files = ("--tls-cert-file", f"{directory}/server.pem", "--tls-key-file", f"{directory}/server.key")
    authority = ("--tls-ca-cert-file", f"{directory}/ca.pem", "--tls-auth-clients", "no")
    with running_redis(directory, "--tls-port", str(tls_port), *files, *authority) as running:
        running.servers[0].ask("ACL", "SETUSER", *read_documented_user())
        url = f"rediss://authd:{quote(PASSWORD, safe='')}@localhost:{tls_port}?ca_file={directory}/ca.pem"
        yield RedisServers(url, running.servers)


def read_documented_user() -> list[str]:
    """The arguments of the ACL SETUSER of docs/redis.md, with PASSWORD."""
    rule = re.search(r"^ACL SETUSER (authd .*)$", _DOCS.read_text(), re.MULTILINE)
    assert rule is not None
    return rule[1].replace("PASSWORD", PASSWORD).split()


@contextlib.contextmanager
def running_sentinels(directory: Path) -> Iterator[RedisServers]:
    """A master with two replicas, watched by three Sentinels that take over after half a second of silence."""
    with contextlib.ExitStack() as cleanup:
        master = _start(cleanup, directory / "data0", *_OPTIONS)
        replica = ("--replicaof", f"127.0.0.1 {master.port}")
        servers = (master, *(_start(cleanup, directory / f"data{n}", *_OPTIONS, *replica) for n in (1, 2)))
        # Sentinel asks only every ten seconds whether there are more replicas.
        wait_until(lambda: is_replicated(master))
        sentinels = tuple(_start_sentinel(cleanup, directory / f"sentinel{n}", master.port) for n in range(3))
        for sentinel in sentinels:
            wait_until(lambda sentinel=sentinel: _knows_all(sentinel))
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        yield RedisServers(f"redis+sentinel://{addresses}/{SERVICE}", servers, sentinels)


@contextlib.contextmanager
def running_cluster(directory: Path) -> Iterator[RedisServers]:
    """Three masters that share the slots, without replicas."""
    with contextlib.ExitStack() as cleanup:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        nodes = []
        for n in range(3):
            bus = ("--cluster-port", str(find_free_port()))
            nodes.append(_start(cleanup, directory / f"node{n}", *_OPTIONS, *options, *bus))
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        _share_slots(nodes)
        yield RedisServers(f"redis+cluster://{','.join(addresses)}?replicas=0", tuple(nodes))


def _share_slots(nodes: list[RedisProcess]) -> None:
    bounds = (0, 5461, 10923, 16384)
    for number, node in enumerate(nodes):
        node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        bus = node.arguments[node.arguments.index("--cluster-port") + 1]
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, int(bus))
    for node in nodes:
        wait_until(lambda node=node: "cluster_state:ok" in _text(node.ask("CLUSTER", "INFO")))
        wait_until(lambda node=node: len(node.ask("CLUSTER", "SLOTS")) == len(nodes))


def _start(cleanup: contextlib.ExitStack, directory: Path, *arguments: str) -> RedisProcess:
    server = RedisProcess(directory, find_free_port(), arguments)
    cleanup.callback(server.stop)
    server.start()
    return server


def _start_sentinel(cleanup: contextlib.ExitStack, directory: Path, master_port: int) -> RedisProcess:
    directory.mkdir(parents=True)
    settings = directory / "sentinel.conf"
    settings.write_text(
        f"bind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {master_port} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 1000\n"
    )
    return _start(cleanup, directory, str(settings), "--sentinel")


def _knows_all(sentinel: RedisProcess) -> bool:
    master = sentinel.ask("SENTINEL", "MASTER", SERVICE)
    return int(master["num-other-sentinels"]) == 2 and int(master["num-slaves"]) == 2


def is_replicated(master: RedisProcess) -> bool:
    """Whether both replicas of a trio follow this master."""
    info = master.ask("INFO", "replication")
    return bool(info["connected_slaves"] == 2 and all(info[f"slave{n}"]["state"] == "online" for n in (0, 1)))


def _text(reply: Any) -> str:
    return str(reply) if not isinstance(reply, dict) else "\n".join(f"{name}:{value}" for name, value in reply.items())
