"""The root file system that every machine of the lab starts from: this machine's Debian, made once and kept.

It is what a cloud hands out, with sshd and Python and little else. What the roles install lies beside it as packages:
they really install it, and a run needs no network.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

CACHE = Path(__file__).parents[2] / ".cache/lab"
# python3-apt is for Ansible; libfaketime for the clock that is wrong.
SYSTEM = (
    *("systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "iproute2", "nftables"),
    *("ca-certificates", "openssl", "procps", "curl", "libfaketime"),
)
INSTALLABLE = (
    *("nginx-light", "redis-server", "redis-sentinel", "python3-venv", "openssh-client", "wireguard-tools"),
    *("sudo", "cron", "acl", "iptables", "dehydrated", "wireguard-go", "docker.io", "busybox-static"),
)
_PACKAGES = "srv/packages"
# Made again when what is below changes.
_EDITION = "2"


def ensure_rootfs() -> Path:
    """The directory, built if it is not there: that takes about a minute and needs Debian's registry.

    Raises:
        RuntimeError: it could not be built, with the end of the log.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    rootfs = CACHE / f"rootfs-{_fingerprint()}"
    with FileLock(CACHE / "rootfs.lock"):
        if not rootfs.exists():
            _build(rootfs)
    return rootfs


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"].strip('"')


def _fingerprint() -> str:
    text = "\n".join([_EDITION, _release(), *SYSTEM, *INSTALLABLE])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _build(rootfs: Path) -> None:
    unfinished = rootfs.with_suffix(".unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    log = CACHE / "rootfs.log"
    with log.open("w") as output:
        command = ["mmdebstrap", "--variant=minbase", f"--include={','.join([*SYSTEM, 'apt-utils'])}"]
        hooks = [f"--customize-hook={hook}" for hook in _hooks()]
        target = [_release(), str(unfinished), "-"]
        done = subprocess.run(
            [*command, *hooks, *target], input=_sources(), text=True, stdout=output, stderr=output, check=False
        )
    if done.returncode:
        raise RuntimeError(f"the lab's root file system could not be made:\n{log.read_text()[-1500:]}")
    (unfinished / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:/{_PACKAGES} ./\n")
    # That of the machine which built it: a look-up is to fail at once, not after a while.
    (unfinished / "etc/resolv.conf").write_text("")
    # Each machine makes keys of its own.
    for key in (unfinished / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    unfinished.rename(rootfs)


def _hooks() -> list[str]:
    """Commands for a shell, with the root directory as $1: the packages, and their index."""
    apt = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --no-install-recommends --download-only install'
    return [
        f"{apt} {' '.join(INSTALLABLE)}",
        f'mkdir -p "$1/{_PACKAGES}" && mv "$1"/var/cache/apt/archives/*.deb "$1/{_PACKAGES}/"',
        f'chroot "$1" sh -c "cd /{_PACKAGES} && apt-ftparchive packages . >Packages && apt-get --yes purge apt-utils"',
    ]


def _sources() -> str:
    """Where this machine gets Debian from."""
    line = "deb $(REPO_URI) $(CODENAME) $(COMPONENT)"
    chosen = ["Created-By: Packages", "Origin: Debian"]
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", line, *chosen], capture_output=True, text=True, check=True
    )
    return asked.stdout
