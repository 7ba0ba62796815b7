"""One run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ipranges.errors import ApplyError, LockBusyError
from ipranges.files import explain_os_error


@contextmanager
def hold_lock(state_dir: Path, *, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the state directory's lock; raises LockBusyError if another run has it for `wait_seconds`.

    The kernel lets go of it when the process ends, however it ends.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        lock = FileLock(state_dir / "lock", mode=0o600)
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise LockBusyError(f"another run holds {state_dir / 'lock'}; it will do this run's work") from None
    except OSError as error:
        raise ApplyError(explain_os_error(state_dir / "lock", error)) from None
    try:
        yield
    finally:
        lock.release()
