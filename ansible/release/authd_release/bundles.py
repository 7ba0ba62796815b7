"""From a bundle to an environment of its own, each file held to its hash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from authd_release.layout import STAMP, Layout, ReleaseError, write

KEPT_RELEASES = 3
KEPT_BACKUPS = 5
_INSTALL_SECONDS = 600
# Of the package python3-venv, for Debian's own Python.
_DEBIAN_WHEELS = Path("/usr/share/python-wheels")
# What tells one bundle from another.
_NAMING = ("VERSION", "requirements.lock")


@dataclass(frozen=True)
class Staged:
    """A version, and whether it was not installed before."""

    version: str
    is_new: bool


def stage(layout: Layout, file: Path, *, only_look: bool) -> Staged:
    """Install a bundle beside the others. Raises ReleaseError for what is no whole bundle for this machine."""
    named = _read_names(file)
    if named and _is_installed(layout, *named):
        return Staged(named[0], is_new=False)
    with tempfile.TemporaryDirectory(dir=layout.prefix, prefix=".incoming-") as directory:
        bundle = _unpack(file, Path(directory))
        version, digest = _name(*((bundle / name).read_bytes() for name in _NAMING))
        is_new = not _is_installed(layout, version, digest)
        if is_new and not only_look:
            _install(layout.releases / version, bundle, version, digest)
    return Staged(version, is_new)


def _read_names(file: Path) -> tuple[str, str] | None:
    """Version and digest from the beginning of a bundle, where they lie before the wheels; None where they do not."""
    found: dict[str, bytes] = {}
    with contextlib.suppress(OSError, EOFError, tarfile.TarError), tarfile.open(file) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if name.startswith("wheels/"):
                break
            if name in _NAMING and (read := archive.extractfile(member)) is not None:
                found[name] = read.read()
    return _name(*(found[name] for name in _NAMING)) if found.keys() == set(_NAMING) else None


def _name(version: bytes, lock: bytes) -> tuple[str, str]:
    return version.decode(errors="replace").strip(), hashlib.sha256(lock).hexdigest()


def _unpack(file: Path, directory: Path) -> Path:
    """The bundle's one directory. Raises ReleaseError for what is no whole bundle for this machine."""
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                parts = Path(member.name).parts
                if not (member.isfile() or member.isdir()) or ".." in parts or Path(member.name).is_absolute():
                    raise ReleaseError(f"{file} is no release of authd: it holds {member.name}")
            archive.extractall(directory)  # noqa: S202 - every member was looked at
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ReleaseError(f"{file} cannot be read as a release of authd: {error}") from None
    found = list(directory.glob("authd-*/VERSION"))
    if len(found) != 1 or not (found[0].parent / "requirements.lock").is_file():
        raise ReleaseError(f"{file} is no release of authd: `make release` builds one")
    wanted = (found[0].parent / "PLATFORM").read_text().strip()
    here = f"python{sys.version_info[0]}.{sys.version_info[1]} {platform.machine()}"
    if wanted != here:
        raise ReleaseError(f"{file} is for {wanted}, and this machine has {here}: build it on a Debian like this one")
    return found[0].parent


def _is_installed(layout: Layout, version: str, digest: str) -> bool:
    try:
        found = json.loads((layout.releases / version / STAMP).read_text())["lock_sha256"]
    except OSError:
        return False
    if found != digest:
        raise ReleaseError(f"{version} is installed from another bundle: give this one a version of its own (--label)")
    return True


def _install(target: Path, bundle: Path, version: str, digest: str) -> None:
    """Make the release's environment. What a run that was cut off has left is made again."""
    shutil.rmtree(target, ignore_errors=True)
    # Debian's pip as a file: a copy in each release takes as long to make as the rest, and is never used again.
    wheels = sorted(_DEBIAN_WHEELS.glob("pip-*.whl")) if sys.base_prefix == "/usr" else []
    wheel = next(iter(wheels), None)
    without = ["--without-pip"] if wheel else []
    _run_step("a virtual environment", sys.executable, "-m", "venv", *without, str(target))
    program = [str(wheel / "pip")] if wheel else ["-m", "pip"]
    pip = [str(target / "bin/python"), *program, "install", "--disable-pip-version-check", "--no-cache-dir"]
    options = ["--no-index", "--no-deps", "--require-hashes", "--find-links", str(bundle / "wheels")]
    _run_step("the packages", *pip, *options, "-r", str(bundle / "requirements.lock"))
    # This file system alone: what others are writing to theirs may take minutes.
    _run_step("the packages' files", "sync", "--file-system", str(target))
    write(target / STAMP, json.dumps({"version": version, "lock_sha256": digest}))


def _run_step(what: str, *command: str) -> None:
    # Whatever pip is told by the machine's own settings, it looks nowhere but into the bundle.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
        env={**environment, "PIP_CONFIG_FILE": "/dev/null"},
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ReleaseError(f"{what} could not be installed, nothing was changed: {' '.join(lines[-3:])}")


def remove_old(layout: Layout) -> list[str]:
    """All but the newest few, and never what a link names."""
    in_use = {layout.version_of(layout.current), layout.version_of(layout.previous)}
    newest = sorted(layout.releases.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    removed = [path for path in newest if path.name not in in_use][max(0, KEPT_RELEASES - len(in_use)) :]
    for path in removed:
        shutil.rmtree(path)
    backups = sorted(layout.backups.glob("before-*.db"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in backups[KEPT_BACKUPS:]:
        path.unlink()
    return [path.name for path in removed]
