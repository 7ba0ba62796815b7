"""The service: its unit, its commands, and how the running one is asked to let the next one take over."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from authd_release.layout import Layout, ReleaseError, write

READY_SECONDS = 30
HAND_OVER_SECONDS = 60
_COMMAND_SECONDS = 180


def hand_over(unit: str) -> bool:
    """Ask the running master to start its successor; False where the unit knows no such thing. Returns when it is done.

    Raises ReleaseError if the successor gave up: then the running one serves on.
    """
    before = _main_pid(unit)
    if before == 0:
        return False
    workers = _children_of(before)
    systemctl("kill", "--kill-who=main", "--signal=USR2", unit)
    deadline = time.monotonic() + HAND_OVER_SECONDS
    seen = False
    while _main_pid(unit) == before or Path(f"/proc/{before}").exists():
        successors = _children_of(before) - workers
        seen = seen or bool(successors)
        if (seen and not successors and _main_pid(unit) == before) or time.monotonic() > deadline:
            raise ReleaseError(f"it did not start: {_last_words(unit)}")
        time.sleep(0.2)
    return True


def _children_of(pid: int) -> set[str]:
    try:
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return set()


def _last_words(unit: str) -> str:
    """The last line that is no routine, in which authd says why it ended."""
    done = _run("journalctl", "--unit", unit, "--lines=30", "--output=cat", "--no-pager")
    lines = [line for line in done.stdout.splitlines() if line.startswith("authd:") or '"level": "error"' in line]
    return lines[-1] if lines else f"see `journalctl -u {unit}`"


def require_ready(layout: Layout, release: Path, version: str) -> None:
    done = _ask_ready(layout, release, version, READY_SECONDS)
    if done.returncode:
        raise ReleaseError((done.stderr or done.stdout).strip().removeprefix("authd: "))


def is_ready(layout: Layout, release: Path, version: str, *, seconds: int) -> bool:
    return _ask_ready(layout, release, version, seconds).returncode == 0


def _ask_ready(layout: Layout, release: Path, version: str, seconds: int) -> subprocess.CompletedProcess[str]:
    return authd(layout, release, "ready", "--wait", str(seconds), "--expect-version", version)


def authd(layout: Layout, release: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of one version."""
    environment = {**os.environ, "AUTHD_CONFIG": str(layout.config)}
    return _run(str(release / "bin/authd"), *arguments, environment=environment)


def unit_of(release: Path) -> str | None:
    found = list(release.glob("lib/python3*/site-packages/authd/systemd/authd.service"))
    return found[0].read_text() if found else None


def read_unit(layout: Layout) -> str | None:
    with contextlib.suppress(OSError):
        return (layout.units / layout.unit).read_text()
    return None


def install_unit(layout: Layout, release: Path) -> bool:
    """The unit that the release brings; whether it differed."""
    wanted = unit_of(release)
    if wanted is None or wanted == read_unit(layout):
        return False
    write_unit(layout, wanted)
    return True


def write_unit(layout: Layout, text: str) -> None:
    layout.units.mkdir(parents=True, exist_ok=True)
    if text != read_unit(layout):
        write(layout.units / layout.unit, text)
        if Path("/run/systemd/system").is_dir():
            systemctl("daemon-reload")


def is_active(unit: str) -> bool:
    if not Path("/run/systemd/system").is_dir():
        return False
    return _run("systemctl", "is-active", "--quiet", unit).returncode == 0


def _main_pid(unit: str) -> int:
    return int(_run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip() or 0)


def restart(unit: str) -> None:
    systemctl("restart", unit, failure="it does not start: " + f"see `journalctl -u {unit}`")


def systemctl(*arguments: str, failure: str = "") -> None:
    done = _run("systemctl", *arguments)
    if done.returncode:
        raise ReleaseError(failure or f"systemctl {' '.join(arguments)}: {done.stderr.strip()}")


def _run(*command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command that may fail, without a terminal. Raises ReleaseError if it hangs or is not there."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReleaseError(f"{command[0]}: {error}") from None
