"""What is installed on the machines: authd of this checkout and all that it needs, as wheels that were built once."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from tests.lab.rootfs import CACHE

_ROOT = Path(__file__).parents[2]


def build_wheels(version: str = "") -> Path:
    """A directory of wheels. authd's is built anew each time, under another `version` if one is given."""
    lock = _ROOT / "requirements.lock"
    needed = CACHE / f"wheels-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "wheels.lock"):
        if not needed.exists():
            everything = CACHE / "requirements.lock"
            # The machines' Python is Debian's, which may be older than the one that builds.
            everything.write_text(re.sub(r" ; python_full_version < '[0-9.]+'", "", lock.read_text()))
            _pip("--require-hashes", "-r", str(everything), into=needed.with_suffix(".unfinished"))
            needed.with_suffix(".unfinished").rename(needed)
        made = CACHE / f"release-{version or 'now'}"
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(needed, made)
        _pip("--no-deps", "--no-index", str(_copy_source(version)), into=made)
    return made


def _copy_source(version: str) -> Path:
    """What is committed and what is not, apart from the checkout, where a build would leave its traces."""
    source = CACHE / "source"
    shutil.rmtree(source, ignore_errors=True)
    for package in ("authd", "ipranges"):
        shutil.copytree(_ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, source)
    if version:
        (source / "authd/__init__.py").write_text(f'__version__ = "{version}"\n')
    return source


def _pip(*arguments: str, into: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--wheel-dir", str(into)]
    subprocess.run([*command, *arguments], check=True, timeout=600)
