"""Debian machines that really boot: systemd, sshd, a firewall and a network of their own, each in a second or two.

    with running_machines({"edge1": 11, "edge2": 12}, also={"client": 10}) as lab:
        lab["edge1"].run("systemctl", "is-active", "ssh")
        lab["edge1"].reboot()

A machine's root is an overlay over the one root file system that all share; what is written stays until the lab ends.
A host in `also` has a cable and an address, but does not boot: what runs there is started with `lab.network.on(...)`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import cgroups
from tests.lab.network import Network, render_hosts, wired
from tests.lab.rootfs import CACHE, ensure_rootfs

BOOT_SECONDS = 90
# A machine that is shut down ends its services first.
SHUTDOWN_SECONDS = 60
_LIBFAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
_MEMORY, _ENOUGH_BYTES = Path("/dev/shm"), 6 * 1024**3
# What Docker needs to run containers inside of one: keys, programs for the kernel, forwarding, and control groups.
_FOR_CONTAINERS = ("--system-call-filter=add_key keyctl bpf",)
_CONTAINERS_ENVIRONMENT = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
_PROGRAMS = ("ip", "mmdebstrap", "systemd-nspawn", "ssh", "ssh-keygen")


class LabError(Exception):
    """Raised if a machine does not do what it was told to, with the end of its console."""


def find_obstacle() -> str:
    """Why no machine can boot here, as one line; empty if nothing speaks against it."""
    if os.geteuid() != 0:
        return "the lab of booted machines needs root"
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing:
        return f"the lab of booted machines needs {', '.join(missing)}, which `make lab` installs"
    if subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], check=False).returncode:
        return "the lab of booted machines needs namespaces, which are not permitted here"
    if not cgroups.is_writable():
        return "the lab of booted machines needs control groups that it may write"
    return ""


@dataclass(slots=True)
class Machine:
    """One host. `root` is its root directory, seen from outside. `runs_containers` lets Docker do so."""

    name: str
    network: Network
    directory: Path
    ssh_config: Path
    runs_containers: bool = False
    boots: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def address(self) -> str:
        return self.network.address(self.name)

    def run(
        self, *command: str, check: bool = True, text: str | None = None, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """A command by ssh, as root. Raises LabError if it fails, with what it said."""
        remote = ["ssh", "-F", str(self.ssh_config), self.name, shlex.join(command)]
        whole = self.network.as_operator(*remote)
        done = subprocess.run(whole, input=text or "", capture_output=True, text=True, timeout=seconds, check=False)
        if check and done.returncode:
            raise LabError(
                f"{self.name}: {shlex.join(command)} ended with {done.returncode}\n{done.stderr}{done.stdout}"
            )
        return done

    def shell(self, script: str, *, seconds: float = 120) -> str:
        """A script for bash that stops at the first failure; what it printed."""
        return self.run("bash", "-euo", "pipefail", "-s", text=script, seconds=seconds).stdout

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """A file of root's, put there from outside, as if it were of this machine since it was made."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def boot(self) -> None:
        """Returns when the machine is up. Raises LabError if it is not within BOOT_SECONDS, or if a unit failed."""
        self.power_on()
        self.wait_until_up()

    def power_on(self) -> None:
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={self.root}"]
        command += [
            f"--machine={self.name}",
            f"--network-namespace-path=/run/netns/{self.network.namespace(self.name)}",
        ]
        # For the firewall of its own.
        command += ["--capability=CAP_NET_ADMIN", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        command += _FOR_CONTAINERS if self.runs_containers else ()
        with (self.directory / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                cgroups.within(self._group, command),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={**os.environ, **(_CONTAINERS_ENVIRONMENT if self.runs_containers else {})},
            )
        self.boots += 1

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while (state := self._ask_state()) in ("", "initializing", "starting"):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{self.name} did not boot; its console ends with\n{self.read_console()[-1500:]}")
            time.sleep(0.2)
        if state != "running":
            failed = self.run("systemctl", "--failed", "--no-legend", "--plain", check=False).stdout
            raise LabError(f"{self.name} is {state} after booting: {failed}")

    def reboot(self) -> None:
        """As `systemctl reboot` does it: services end, and begin again. Returns when the machine is up."""
        self.shut_down("reboot")
        self.boot()

    def shut_down(self, how: str = "poweroff") -> None:
        """Returns when the machine is off."""
        self.run("systemctl", how, check=False)
        assert self._process is not None
        try:
            self._process.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name} does not end; its console: {self.read_console()[-1500:]}") from error

    def pull_plug(self) -> None:
        """Off at once: nothing is told that it ends."""
        for pid in cgroups.list_processes(self._group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
        wait_until(lambda: not cgroups.list_processes(self._group), f"the end of {self.name}")

    def set_clock(self, unit: str, seconds: int) -> None:
        """What this service, restarted, takes for the time is so many seconds off; 0 sets it right again."""
        drop_in = f"/etc/systemd/system/{unit}.d/clock.conf"
        if seconds:
            # A file and no variable: nginx empties its environment. The monotonic clock is off, too: told to leave that
            # one alone, libfaketime mixes them up in a sleep.
            self.write("/etc/faketimerc", f"{seconds:+d}\n")
            self.write(drop_in, f"[Service]\nEnvironment=LD_PRELOAD={_LIBFAKETIME}\n")
        else:
            self.run("rm", "-f", drop_in)
        self.shell(f"systemctl daemon-reload; systemctl restart {unit}")

    def read_console(self) -> str:
        return (self.directory / "console.log").read_text(errors="replace")

    def read_memory_bytes(self) -> int | None:
        return cgroups.read_memory_bytes(self._group)

    def remove(self) -> None:
        """Off, and no trace left but its directory."""
        self.pull_plug()
        cgroups.remove(self._group)
        subprocess.run(["umount", "--lazy", str(self.root)], check=False, capture_output=True)

    def _ask_state(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.run("systemctl", "is-system-running", check=False, seconds=20).stdout.strip()
        return ""

    @property
    def _group(self) -> str:
        return f"authd-{self.network.namespace(self.name)}"


@dataclass(frozen=True, slots=True)
class Lab:
    """All machines, by name. `ssh_config` lets the operator's ssh and Ansible reach each by its name."""

    network: Network
    machines: Mapping[str, Machine]
    directory: Path
    ssh_config: Path

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def as_operator(
        self, *command: str, seconds: float = 600, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command at the operator's seat, from which every machine is reached."""
        whole = self.network.as_operator(*command)
        variables = {**os.environ, **(environment or {})}
        return subprocess.run(
            whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False, env=variables
        )


def wait_until(holds: Callable[[], object], what: str, *, seconds: float = 60) -> float:
    """How long it took. Raises LabError after `seconds`."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise LabError(f"not within {seconds} seconds: {what}")
        time.sleep(0.1)
    return time.monotonic() - began


@contextlib.contextmanager
def running_machines(
    numbers: Mapping[str, int],
    *,
    also: Mapping[str, int] | None = None,
    names: Mapping[str, str] | None = None,
    containers: Sequence[str] = (),
) -> Iterator[Lab]:
    """Booted machines, all torn down in the end. `numbers` and `names` as in `wired`; hosts in `also` do not boot.

    On those in `containers` Docker can run.
    """
    rootfs = ensure_rootfs()
    above = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES else CACHE
    directory = Path(tempfile.mkdtemp(prefix="authd-lab-", dir=above))
    umask = os.umask(0o022)
    machines: dict[str, Machine] = {}
    try:
        with wired({**numbers, **(also or {})}, names or {}) as network:
            config = _write_ssh_config(directory, network, list(numbers))
            for name in numbers:
                machines[name] = _make_machine(name, network, directory, rootfs, render_hosts(network, names or {}))
                machines[name].runs_containers = name in containers
            _write_known_hosts(directory, machines)
            for machine in machines.values():
                machine.power_on()
            for machine in machines.values():
                machine.wait_until_up()
            yield Lab(network, machines, directory, config)
    finally:
        for machine in machines.values():
            machine.remove()
        shutil.rmtree(directory, ignore_errors=True)
        os.umask(umask)


def _write_ssh_config(directory: Path, network: Network, names: Sequence[str]) -> Path:
    key = directory / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", str(key)], check=True)
    # By its short name, and by one of a domain.
    lines = [f"Host {name} {name}.*\n  HostName {network.address(name)}" for name in names]
    lines += ["Host *", "  User root", f"  IdentityFile {key}", "  IdentitiesOnly yes", "  BatchMode yes"]
    lines += [f"  UserKnownHostsFile {directory}/known_hosts", "  StrictHostKeyChecking yes", "  LogLevel ERROR"]
    lines += ["  ConnectTimeout 5", "  ServerAliveInterval 5"]
    config = directory / "ssh_config"
    config.write_text("\n".join(lines) + "\n")
    return config


def _make_machine(name: str, network: Network, lab: Path, rootfs: Path, hosts: str) -> Machine:
    machine = Machine(name, network, lab / name, lab / "ssh_config")
    for part in ("upper", "work", "root"):
        (machine.directory / part).mkdir(parents=True)
    layers = f"lowerdir={rootfs},upperdir={machine.directory}/upper,workdir={machine.directory}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", str(machine.root)], check=True)
    host_key = "etc/ssh/ssh_host_ed25519_key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(machine.root / host_key)], check=True
    )
    machine.write("/etc/hosts", hosts)
    machine.write("/etc/hostname", f"{name}\n")
    machine.write("/etc/ssh/operators", (lab / "id_ed25519.pub").read_text())
    settings = f"HostKey /{host_key}\nAuthorizedKeysFile /etc/ssh/operators\nUseDNS no\n"
    machine.write("/etc/ssh/sshd_config.d/lab.conf", settings)
    return machine


def _write_known_hosts(directory: Path, machines: Mapping[str, Machine]) -> None:
    lines = [
        f"{name},{machine.address} {(machine.root / 'etc/ssh/ssh_host_ed25519_key.pub').read_text()}"
        for name, machine in machines.items()
    ]
    (directory / "known_hosts").write_text("".join(lines))
