"""Writing files so that at every instant each is the whole old one or the whole new one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ipranges.errors import ApplyError

TEMPORARY_SUFFIX = ".ipranges-new"


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file's content; raises ApplyError with what to do, the old file still whole.

    A link is followed, since a rename would replace the link itself. Owner and mode of an existing file
    are kept. The directory is synced too: without it a power cut may bring the old file back.
    """
    target = Path(os.path.realpath(path))
    # One fixed name: what a killed run left behind is overwritten by the next, and never gathers.
    temporary = target.with_name(f".{target.name}{TEMPORARY_SUFFIX}")
    try:
        _write_whole(temporary, content, like=target, mode=mode)
        os.replace(temporary, target)
        _sync_directory(target.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True) if error.errno != errno.EROFS else None
        raise ApplyError(explain_os_error(path, error)) from None


def remove_atomically(path: Path) -> None:
    """Remove a file if it is there; raises ApplyError."""
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync_directory(path.parent)
    except OSError as error:
        raise ApplyError(explain_os_error(path, error)) from None


def read_if_there(path: Path) -> bytes | None:
    """A file's content, None where there is none; raises ApplyError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ApplyError(explain_os_error(path, error)) from None


def explain_os_error(path: Path, error: OSError) -> str:
    """One sentence that says what to do about it."""
    hints = {
        errno.EBUSY: "it is mounted as a single file; mount its directory instead",
        errno.EROFS: "the file system is read-only; add the directory to ReadWritePaths= or remount it",
        errno.ENOSPC: "the disk is full",
        errno.EACCES: "permission denied; ipranges must run as root or own the directory",
        errno.ENOENT: "the directory does not exist; create it first",
    }
    hint = hints.get(error.errno or 0, os.strerror(error.errno or 0))
    return f"{path} could not be written: {hint}"


def _write_whole(temporary: Path, content: bytes, *, like: Path, mode: int) -> None:
    # O_NOFOLLOW: whoever may write into the directory must not lead us elsewhere.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        _keep_owner_and_mode(descriptor, like, mode)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_owner_and_mode(descriptor: int, like: Path, mode: int) -> None:
    try:
        known = like.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    if (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
        os.fchown(descriptor, known.st_uid, known.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(known.st_mode))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
