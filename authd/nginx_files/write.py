"""Writes rendered files so that nginx never reads half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_files(files: Mapping[str, str], directory: Path, *, mode: int = 0o644) -> tuple[str, ...]:
    """Writes each file whole or not at all, and returns the names of those whose content changed.

    `mode` is 0o600 where the text holds a secret (nginx' master reads its configuration as root). Each file
    is complete on the disk before it takes its name; the set as a whole is not swapped at once, so nginx is
    reloaded afterwards, by the caller. Raises OSError; files that are already in place then stay.
    """
    directory.mkdir(parents=True, exist_ok=True)
    changed = tuple(name for name in sorted(files) if not _is_current(directory / name, files[name], mode))
    for name in changed:
        _replace(directory / name, files[name], mode)
    _sync_directory(directory)
    return changed


def _is_current(path: Path, text: str, mode: int) -> bool:
    try:
        return path.read_bytes() == text.encode() and path.stat().st_mode & 0o777 == mode
    except FileNotFoundError:
        return False


def _replace(path: Path, text: str, mode: int) -> None:
    # mkstemp makes the file 0600, so that a secret is never readable by others, not even for a moment.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # Also on Ctrl-C: nginx' include of *.conf would not see it, but it may hold the secret.
        os.unlink(temporary)
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
