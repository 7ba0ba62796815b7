"""The switch from one version to another, which is whole or did not happen."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from authd_release.layout import Layout, ReleaseError, point
from authd_release.service import (
    authd,
    hand_over,
    install_unit,
    is_active,
    is_ready,
    read_unit,
    require_ready,
    restart,
    unit_of,
    write_unit,
)


def switch(layout: Layout, version: str) -> dict[str, object]:
    """Let `version` be what runs. Raises ReleaseError when it could not, with everything as it was before."""
    before = layout.version_of(layout.current)
    release = layout.releases / version
    is_running = is_active(layout.unit)
    if layout.config.exists():
        _require_good_config(layout, release)
    changed = _link_commands(layout)
    if before == version:
        changed |= install_unit(layout, release)
        if is_running and not is_ready(layout, release, version, seconds=0):
            restart(layout.unit)
            require_ready(layout, release, version)
            changed = True
        return {"version": version, "changed": changed, "backup": None}
    backup = _back_up(layout, release) if layout.config.exists() else None
    units_before = read_unit(layout)
    by_restart = needs_restart(layout, release)
    point(layout.current, release)
    try:
        install_unit(layout, release)
        if is_running:
            _take_over(layout, release, version, by_restart=by_restart)
    except ReleaseError as error:
        _put_back(layout, before, units_before, is_running)
        raise ReleaseError(
            f"{version} was not taken into service, {before or 'nothing'} runs as before: {error}"
        ) from None
    if before:
        point(layout.previous, layout.releases / before)
    return {"version": version, "changed": True, "backup": str(backup) if backup else None}


def needs_restart(layout: Layout, release: Path) -> bool:
    """Whether the switch to it costs requests: its unit, if it is installed, is not the one that runs."""
    before, wanted = read_unit(layout), unit_of(release)
    return None not in (before, wanted) and before != wanted and is_active(layout.unit)


def would_switch(layout: Layout, version: str) -> bool:
    """Whether `switch` would change anything."""
    release = layout.releases / version
    if layout.version_of(layout.current) != version or read_unit(layout) != unit_of(release):
        return True
    return is_active(layout.unit) and not is_ready(layout, release, version, seconds=0)


def refresh(layout: Layout, version: str) -> bool:
    """Let authd take over from itself, so that every setting is in force; by a restart, and True, where it must be.

    Raises ReleaseError if the configuration is refused, or if authd does not get ready with it.
    """
    release = layout.releases / version
    _require_good_config(layout, release)
    try:
        _take_over(layout, release, version, by_restart=False)
    except ReleaseError:
        # Another socket, which cannot be handed on; or something that a fresh start may cure.
        _take_over(layout, release, version, by_restart=True)
        return True
    return False


def _put_back(layout: Layout, before: str | None, unit: str | None, is_running: bool) -> None:
    if before is None:
        layout.current.unlink()
        return
    release = layout.releases / before
    point(layout.current, release)
    if unit is not None:
        write_unit(layout, unit)
    if not is_running or is_ready(layout, release, before, seconds=1):
        return
    for by_restart in (False, True):
        with contextlib.suppress(ReleaseError):
            _take_over(layout, release, before, by_restart=by_restart)
            return
    raise ReleaseError(
        f"neither the new version nor {before} gets ready: see `journalctl -u {layout.unit}`; if {before} refuses a"
        f" store that was changed, stop {layout.unit} and restore the copy in {layout.backups}"
    )


def _require_good_config(layout: Layout, release: Path) -> None:
    done = authd(layout, release, "check-config")
    if done.returncode:
        said = (done.stderr or done.stdout).strip().removeprefix("authd: ")
        raise ReleaseError(f"{release.name} refuses the configuration, nothing was changed: {said}")


def _back_up(layout: Layout, release: Path) -> Path | None:
    """A copy of the store as it was before the new version saw it; None where there is no file."""
    layout.backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = layout.backups / f"before-{release.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.db"
    done = authd(layout, release, "state", "backup", "--to", str(target), "--json")
    if done.returncode:
        raise ReleaseError(f"the store could not be backed up, nothing was changed: {done.stderr.strip()}")
    return target if json.loads(done.stdout)["copied"] else None


def _take_over(layout: Layout, release: Path, version: str, *, by_restart: bool) -> None:
    """The running service becomes the new version's. A changed unit needs a restart; else nobody notices."""
    if by_restart or not hand_over(layout.unit):
        restart(layout.unit)
    require_ready(layout, release, version)


def _link_commands(layout: Layout) -> bool:
    """`authd` and `ipranges` for everybody's PATH, through `current`."""
    layout.commands.mkdir(parents=True, exist_ok=True)
    return sum(point(layout.commands / name, layout.current / "bin" / name) for name in ("authd", "ipranges")) > 0
