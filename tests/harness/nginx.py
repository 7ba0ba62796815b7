"""Debian's nginx as a process of its own, with everything it writes in one directory, on loopback only."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NGINX = "/usr/sbin/nginx"
_START_SECONDS = 60.0
# net.ipv4.ip_local_port_range begins at 32768.


class NginxRefusedError(Exception):
    """Raised if nginx does not accept its configuration. The text is nginx' own."""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx. `directory` holds nginx.conf, error.log and every temporary file."""

    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def error_log(self) -> str:
        return (self.directory / "error.log").read_text()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=10)


def find_free_port() -> int:
    """A loopback port that nobody uses now, and that no outgoing connection will be given by the kernel.

    One that `bind(0)` chose would come from the range of outgoing connections, and a busy suite takes it before
    nginx does. Another caller may still choose the same: one in some ten thousand.
    """
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(min(10_000, first_outgoing // 2), first_outgoing)
    for _ in range(100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.SystemRandom().choice(ports)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port found from {ports.start} to {ports.stop}")


def render_main(directory: Path, http: str, *, workers: int = 1, modules: Sequence[Path] = ()) -> str:
    """A whole nginx.conf around `http`; relative includes are looked up in `directory`."""
    loaded = "".join(f"load_module {module};\n" for module in modules)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"    {kind}_temp_path {directory}/temp/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
{loaded}{user}
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    server_tokens off;
    lingering_timeout 1s;
    server_names_hash_bucket_size 512;
{temporary}
{http}
}}
"""


def check_nginx(directory: Path, http: str) -> str:
    """What `nginx -t` says of a configuration that it accepts. Raises NginxRefusedError."""
    command = _prepare(directory, http)
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise NginxRefusedError(done.stderr)
    return done.stderr


def start_nginx(
    directory: Path,
    http: str,
    *,
    port: int,
    workers: int = 1,
    modules: Sequence[Path] = (),
    library_directory: Path | None = None,
) -> Nginx:
    """Starts nginx and returns once `port` accepts connections. Raises NginxRefusedError.

    `modules` are loaded first; libraries that they need and the system lacks are in `library_directory`.
    """
    command = _prepare(directory, http, workers=workers, modules=modules)
    environment = os.environ | ({"LD_LIBRARY_PATH": str(library_directory)} if library_directory else {})
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
    nginx = Nginx(directory, process)
    deadline = time.monotonic() + _START_SECONDS
    while not _accepts(port):
        if process.poll() is not None:
            raise NginxRefusedError(process.communicate()[1].decode())
        if time.monotonic() > deadline:
            nginx.stop()
            raise NginxRefusedError(f"nginx did not listen on port {port}\n{nginx.error_log}")
        time.sleep(0.01)
    return nginx


@contextlib.contextmanager
def running_nginx(
    directory: Path,
    http: str,
    *,
    port: int,
    workers: int = 1,
    modules: Sequence[Path] = (),
    library_directory: Path | None = None,
) -> Iterator[Nginx]:
    nginx = start_nginx(
        directory, http, port=port, workers=workers, modules=modules, library_directory=library_directory
    )
    try:
        yield nginx
    finally:
        nginx.stop()
        assert nginx.process.stderr is not None
        nginx.process.stderr.close()


def _prepare(directory: Path, http: str, *, workers: int = 1, modules: Sequence[Path] = ()) -> list[str]:
    (directory / "temp").mkdir(parents=True, exist_ok=True)
    (directory / "nginx.conf").write_text(render_main(directory, http, workers=workers, modules=modules))
    return [
        NGINX,
        "-p",
        str(directory),
        "-c",
        str(directory / "nginx.conf"),
        "-e",
        str(directory / "error.log"),
    ]


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
