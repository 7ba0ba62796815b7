"""Where everything lies, and how a file or a link is replaced at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

STAMP = "release.json"


class ReleaseError(Exception):
    """Raised with the one sentence that the operator gets."""


class Layout:
    """Where everything is; `root` is another directory than / in tests."""

    def __init__(self, root: Path, config: Path, unit: str) -> None:
        self.prefix = root / "opt/authd"
        self.releases = self.prefix / "releases"
        self.current = self.prefix / "current"
        self.previous = self.prefix / "previous"
        self.commands = root / "usr/local/bin"
        self.units = root / "etc/systemd/system"
        self.backups = root / "var/backups/authd"
        self.config = config
        self.unit = unit

    def version_of(self, link: Path) -> str | None:
        """The version that a link names, if it is installed whole."""
        try:
            target = link.resolve(strict=True)
        except OSError:
            return None
        return target.name if target.parent == self.releases.resolve() and (target / STAMP).is_file() else None


@contextlib.contextmanager
def lock(layout: Layout) -> Iterator[None]:
    """One at a time. Raises ReleaseError where another one is at work, or without the right to write."""
    try:
        layout.releases.mkdir(parents=True, exist_ok=True)
        with (layout.prefix / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise ReleaseError("another authd-release is at work; wait for it") from None
    except PermissionError as error:
        raise ReleaseError(f"this needs root: {error.filename}: {error.strerror}") from None


def point(link: Path, target: Path) -> bool:
    """Let a link name something else at once; whether it did not already."""
    if link.is_symlink() and os.readlink(link) == str(target):
        return False
    if link.is_dir() and not link.is_symlink():
        raise ReleaseError(f"{link} is a directory, where a link belongs; move it away")
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    os.replace(beside, link)
    return True


def write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    os.replace(beside, path)
