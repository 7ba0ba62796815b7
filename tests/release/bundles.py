"""Release bundles for tests: built by `.ci/release` itself, once for each state of the sources."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache/releases"
_SOURCES = ("authd", "ipranges", "ansible/release")
_FILES = (".ci/release", "pyproject.toml", "requirements.lock")


def ensure_bundle(label: str) -> Path:
    """The bundle of the checkout as it is, with the version `VERSION+LABEL`. Building one takes half a minute."""
    directory = CACHE / _fingerprint()
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "build.lock"):
        found = list(directory.glob(f"authd-*+{label}.tar.gz"))
        if not found:
            command = [str(ROOT / ".ci/release"), "--label", label, "--out", str(directory)]
            built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert built.returncode == 0, built.stdout + built.stderr
            found = [Path(built.stdout.splitlines()[-1])]
    return found[0]


def version_of(bundle: Path) -> str:
    return bundle.name.removeprefix("authd-").removesuffix(".tar.gz")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    trees = [path for name in _SOURCES for path in (ROOT / name).rglob("*") if "__pycache__" not in path.parts]
    for path in sorted([*trees, *(ROOT / name for name in _FILES)]):
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
