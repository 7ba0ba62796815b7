"""A client, an edge and origins in network namespaces of their own, joined by a router whose links can be cut.

    client 198.18.1.2 - router - edge 198.18.2.2
                          |----- origin 198.18.3.2, which accepts nothing from outside
                          |----- second 198.18.4.2, likewise

Everything is the real program with the files that `authd tunnel render` wrote. systemd alone is missing: its socket is
systemd-socket-activate, its restarts after two seconds are a loop in the shell.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

from tests.ipranges.namespaces import require_programs

CLIENT, EDGE, ORIGIN, SECOND = "client", "edge", "origin", "second"
HOSTS = {CLIENT: 1, EDGE: 2, ORIGIN: 3, SECOND: 4}
UIDS = {"app1": 64101, "app2": 64102}
NGINX_GROUP = "www-data"
_IDENTITY = Path(__file__).parents[2] / "nginx/authd-identity.conf"
TEST_APPLICATION = Path(__file__).parent / "application.py"


def require_lab() -> None:
    """Skip, with one line, where namespaces or programs are missing."""
    require_programs("ip", "nft", "sshd", "ssh", "ssh-keygen", "nginx", "curl", "systemd-socket-activate")
    if os.geteuid() != 0:
        pytest.skip("the tunnel lab needs root, to make network namespaces")
    probe = subprocess.run(["ip", "netns", "add", f"tl{os.getpid()}probe"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("the tunnel lab needs `ip netns add`, which is not permitted here")
    subprocess.run(["ip", "netns", "del", f"tl{os.getpid()}probe"], check=True)


@dataclass
class Lab:
    """The hosts, and every process that was started on them."""

    directory: Path
    prefix: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def name(self, host: str) -> str:
        return f"{self.prefix}{host}"

    def address(self, host: str) -> str:
        return f"198.18.{HOSTS[host]}.2"

    @property
    def edge(self) -> Path:
        """What is /etc/authd-tunnel on an edge."""
        return self.directory / "edge"

    @property
    def run_directory(self) -> Path:
        return self.directory / "run"

    def run(
        self, host: str, *command: str, check: bool = True, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        whole = ["ip", "netns", "exec", self.name(host), *command]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=seconds, check=False)
        if check and done.returncode:
            raise AssertionError(f"{command} on {host}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, host: str, *command: str, log: str) -> subprocess.Popen[bytes]:
        with (self.directory / log).open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name(host), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def authd(self, *arguments: str, host: str = EDGE, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`authd tunnel ...` on a host."""
        return self.run(host, sys.executable, "-m", "authd.cli", "tunnel", *arguments, check=check)

    def directories(self) -> tuple[str, ...]:
        return ("--directory", str(self.edge), "--run-directory", str(self.run_directory))

    def status(self) -> dict[str, dict[str, object]]:
        """Each origin as `authd tunnel status` tells."""
        done = self.authd("status", "--json", "--run-directory", str(self.run_directory))
        return {each["name"]: each for each in json.loads(done.stdout)["origins"]}

    def get(self, path: str = "/", *, seconds: float = 3, host: str = CLIENT) -> str:
        """The body through the edge's nginx, or curl's status in place of one that is no 200."""
        url = f"http://{self.address(EDGE)}{path}"
        done = self.run(host, "curl", "-sS", "-m", str(seconds), "-w", "\n%{http_code}", url, check=False, seconds=30)
        body, _, code = done.stdout.rpartition("\n")
        return body if code == "200" else code

    @contextlib.contextmanager
    def cut(self, *hosts: str, how: str = "drop") -> Iterator[None]:
        """Between these hosts and the rest: `drop` loses every packet, `reset` answers each with a reset, `link` takes
        the router's end of the cable out."""
        if how == "link":
            for host in hosts:
                _ip("-n", self.name("router"), "link", "set", f"v-{host}", "down")
            yield
            for host in hosts:
                _ip("-n", self.name("router"), "link", "set", f"v-{host}", "up")
            return
        verdict = "drop" if how == "drop" else "meta l4proto tcp reject with tcp reset"
        rules = "".join(
            f"add rule ip cut forward ip {way} {self.address(host)} {verdict}\n"
            for host in hosts
            for way in ("saddr", "daddr")
        )
        self._nft(f"table ip cut {{\nchain forward {{\ntype filter hook forward priority 0;\n}}\n}}\n{rules}")
        yield
        self._nft("delete table ip cut\n")

    def _nft(self, text: str) -> None:
        whole = ["ip", "netns", "exec", self.name("router"), "nft", "-f", "-"]
        subprocess.run(whole, input=text, text=True, check=True, timeout=20)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def wait_until(holds: Callable[[], bool], *, seconds: float, pause: float = 0.1) -> float:
    """How long it took. Fails after `seconds`."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not after {seconds} seconds")
        time.sleep(pause)
    return time.monotonic() - began


@contextlib.contextmanager
def running_lab() -> Iterator[Lab]:
    """The wired hosts with nothing running on them. One at a time: an origin's sessions are found by its user, of whom
    the machine has one, and whoever revokes `app1` ends those of every lab."""
    with FileLock("/run/authd-tunnel-lab.lock"), _running_alone() as lab:
        yield lab


@contextlib.contextmanager
def _running_alone() -> Iterator[Lab]:
    # Not below a temporary directory: sshd reads no keys in a place where everybody may write.
    directory = Path(f"/run/authd-lab-{os.getpid()}")
    lab = Lab(directory, f"tl{os.getpid() % 100000}")
    # A command of authd's that ran in this process left its own.
    umask = os.umask(0o022)
    directory.mkdir(mode=0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    try:
        _wire(lab)
        yield lab
    finally:
        for process in lab.processes:
            lab.stop(process)
        for host in ("router", *HOSTS):
            pids = subprocess.run(["ip", "netns", "pids", lab.name(host)], capture_output=True, text=True, check=False)
            for pid in pids.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", lab.name(host)], capture_output=True, check=False)
            shutil.rmtree(f"/etc/netns/{lab.name(host)}", ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)
        os.umask(umask)


def _wire(lab: Lab) -> None:
    router = lab.name("router")
    _ip("netns", "add", router)
    subprocess.run(["ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
    for host, number in HOSTS.items():
        _ip("netns", "add", lab.name(host))
        _ip("-n", router, "link", "add", f"v-{host}", "type", "veth", "peer", "name", "eth0", "netns", lab.name(host))
        _ip("-n", router, "addr", "add", f"198.18.{number}.1/24", "dev", f"v-{host}")
        _ip("-n", router, "link", "set", f"v-{host}", "up")
        _ip("-n", lab.name(host), "addr", "add", f"{lab.address(host)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", lab.name(host), "link", "set", device, "up")
        _ip("-n", lab.name(host), "route", "add", "default", "via", f"198.18.{number}.1")
    _make_accounts(lab)
    for host in (ORIGIN, SECOND):
        _lock(lab, host)


def _make_accounts(lab: Lab) -> None:
    """The origins' users exist on the edge alone: `ip netns exec` lays these files over those in /etc."""
    etc = Path("/etc/netns") / lab.name(EDGE)
    etc.mkdir(parents=True)
    users = "".join(f"tun-{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n" for name, uid in UIDS.items())
    (etc / "passwd").write_text(Path("/etc/passwd").read_text() + users)
    groups = "".join(f"tun-{name}:x:{uid}:\n" for name, uid in UIDS.items())
    (etc / "group").write_text(Path("/etc/group").read_text() + groups)
    (etc / "shadow").write_text("root:*:::::::\nsshd:!:::::::\n" + "".join(f"tun-{name}:*:::::::\n" for name in UIDS))
    (etc / "shadow").chmod(0o600)


def _lock(lab: Lab, host: str) -> None:
    """An origin's firewall: nothing comes in that was not asked for."""
    text = """table inet origin { chain input {
        type filter hook input priority 0; policy drop;
        iif "lo" accept
        ct state established,related accept
    }
    }"""
    whole = ["ip", "netns", "exec", lab.name(host), "nft", "-f", "-"]
    subprocess.run(whole, input=text, text=True, check=True, timeout=20)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=20)


def start_edge(lab: Lab, *, http: str = "") -> None:
    """sshd behind its socket, the watch, nginx with the rendered upstreams. Origins are added before."""
    (lab.edge).mkdir(exist_ok=True)
    if not (lab.edge / "host_ed25519").exists():
        make_key(lab.edge / "host_ed25519")
    render_edge(lab)
    lab.start(
        EDGE,
        *confine(lab, "authd-tunnel-edge@.service"),
        "systemd-socket-activate",
        "--accept",
        "--inetd",
        f"--listen={lab.address(EDGE)}:7844",
        "/usr/sbin/sshd",
        "-i",
        "-f",
        str(lab.edge / "out/sshd_config"),
        log="sshd.log",
    )
    start_watch(lab)
    start_nginx(lab, more=http)


def confine(lab: Lab, unit: str) -> list[str]:
    """The capabilities that a rendered unit leaves, and no new privileges: what systemd would do of it."""
    lines = (lab.edge / "out" / unit).read_text().splitlines()
    (allowed,) = [line.partition("=")[2] for line in lines if line.startswith("CapabilityBoundingSet=")]
    names = [name.removeprefix("CAP_").lower() for name in allowed.split()]
    assert names
    return ["setpriv", "--no-new-privs", f"--bounding-set=-all,{','.join(f'+{name}' for name in names)}"]


def start_watch(lab: Lab) -> subprocess.Popen[bytes]:
    confined = confine(lab, "authd-tunnel-watch.service")
    watch = lab.start(
        EDGE, *confined, sys.executable, "-m", "authd.cli", "tunnel", "watch", *lab.directories(), log="watch.log"
    )
    wait_until((lab.run_directory / "status.json").exists, seconds=20)
    return watch


def render_edge(lab: Lab) -> None:
    lab.authd("render", "edge", "--out", str(lab.edge / "out"), *lab.directories())


def start_nginx(lab: Lab, *, more: str = "") -> None:
    http = lab.directory / "nginx"
    http.mkdir()
    (http / "nginx.conf").write_text(f"""
        daemon off; pid {http}/pid; error_log {http}/error.log info; user www-data;
        worker_rlimit_nofile 8192;
        events {{ worker_connections 4096; }}
        http {{
            access_log off; client_body_temp_path {http}/body; proxy_temp_path {http}/proxy;
            fastcgi_temp_path {http}/f; uwsgi_temp_path {http}/u; scgi_temp_path {http}/s;
            include {lab.edge}/out/authd-tunnels.conf;
            {more}
            map $http_upgrade $authd_connection {{ default upgrade; '' ''; }}
            server {{
                listen {lab.address(EDGE)}:80;
                set $authd_port ""; set $authd_jwt ""; set $authd_email ""; set $authd_user ""; set $authd_groups "";
                set $authd_upgrade $http_upgrade;
                location / {{
                    include {_IDENTITY};
                    proxy_pass http://authd_tunnel_app;
                    include {lab.edge}/out/authd-tunnel-proxy.conf;
                }}
            }}
        }}""")
    lab.start(EDGE, "nginx", "-c", str(http / "nginx.conf"), log="nginx.log")


def make_key(path: Path) -> str:
    """A new key; the public half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True, timeout=20)
    return path.with_suffix(".pub").read_text().strip()


def add_origin(lab: Lab, name: str, *options: str) -> Path:
    """A key that is made on the origin, and made known to the edge. The origin's directory."""
    directory = lab.directory / name
    public = make_key(directory / "id_ed25519")
    lab.authd("add-origin", name, "--public-key", public, "--service", "app", *options, *lab.directories())
    return directory


def start_origin(lab: Lab, host: str, name: str, *, connections: int = 4) -> None:
    """The application on its loopback address, and the connectors."""
    lab.start(host, sys.executable, str(TEST_APPLICATION), name, log=f"application-{name}.log")
    for number in range(1, connections + 1):
        start_connector(lab, host, name, number)


def write_origin(lab: Lab, name: str) -> Path:
    """What `authd tunnel render origin` writes; its ssh_config."""
    directory = lab.directory / name
    host_key = (lab.edge / "host_ed25519.pub").read_text().strip()
    edge = f"edge1={lab.address(EDGE)},{host_key}"
    known = ("--name", name, "--edge", edge, "--directory", str(directory))
    lab.authd("render", "origin", "--out", str(directory), *known, host=ORIGIN)
    return directory / "ssh_config"


def start_connector(lab: Lab, host: str, name: str, number: int) -> subprocess.Popen[bytes]:
    """The unit's own command, started again two seconds after it ends, as the unit says."""
    unit = (lab.directory / name / "authd-tunnel@.service").read_text()
    settings = dict(line.split("=", 1) for line in unit.splitlines() if line.startswith(("ExecStart=", "RestartSec=")))
    command = settings["ExecStart"].replace("%i", f"edge1-{number}")
    loop = f"while :; do {command}; sleep {settings['RestartSec']}; done"
    environment = f"CREDENTIALS_DIRECTORY={lab.directory / name}"
    return lab.start(host, "env", environment, "sh", "-c", loop, log=f"connector-{name}-{number}.log")
