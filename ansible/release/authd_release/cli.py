"""Installs releases of authd beside one another and switches between them.

A switch asks the new version about the configuration, copies the store, moves one link, and lets the new version take
over from the running one, which serves until the new one does. If the new one does not get ready, everything is put
back.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from authd_release.bundles import remove_old, stage
from authd_release.layout import STAMP, Layout, ReleaseError, lock
from authd_release.switching import needs_restart, refresh, switch, would_switch


def main() -> None:
    """Exit codes: 0 done, or nothing to do; 1 refused or put back, with one sentence; 2 wrong usage."""
    arguments = _parse_arguments()
    os.umask(0o022)
    layout = Layout(arguments.root, arguments.config, arguments.unit)
    try:
        with lock(layout):
            result = arguments.act(layout, arguments)
    except ReleaseError as error:
        print(f"authd-release: {error}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(result) if arguments.as_json else _render(result))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="authd-release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 done, 1 refused or put back, 2 wrong usage.",
    )
    parser.add_argument("--config", type=Path, default=Path("/etc/authd/authd.yml"), help="the configuration of authd")
    parser.add_argument("--unit", default="authd.service", help="the service that is switched")
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    parser.add_argument(
        "--dry-run", action="store_true", help="stage and switch: only say whether they would change something"
    )
    parser.add_argument("--json", dest="as_json", action="store_true", help="answer in JSON, for scripts")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, act, argument, explanation in (
        ("install", install_bundle, "FILE", "install a bundle and switch to it"),
        ("stage", stage_bundle, "FILE", "install a bundle beside the others, and go on with the version that runs"),
        ("switch", switch_version, "VERSION", "switch to a version that is installed"),
        ("rollback", roll_back, "", "switch to the version before"),
        ("refresh", refresh_service, "", "let authd take over from itself, with the configuration as it is now"),
        ("status", get_status, "", "which versions are here"),
    ):
        command = commands.add_parser(name, help=explanation, description=explanation)
        command.set_defaults(act=act)
        if argument:
            command.add_argument("what", metavar=argument)
    return parser.parse_args()


def _render(result: dict[str, object]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in result.items() if value not in (None, [], False))


def install_bundle(layout: Layout, arguments: argparse.Namespace) -> dict[str, object]:
    """Install beside, then switch. Nothing is done where this very bundle is what runs."""
    before = layout.version_of(layout.current)
    staged = stage(layout, Path(arguments.what), only_look=False)
    result = switch(layout, staged.version)
    return {
        **result,
        "before": before,
        "changed": staged.is_new or bool(result["changed"]),
        "removed": remove_old(layout),
    }


def stage_bundle(layout: Layout, arguments: argparse.Namespace) -> dict[str, object]:
    """Install beside, and nothing else. What is not installed cannot say whether it needs a restart."""
    staged = stage(layout, Path(arguments.what), only_look=arguments.dry_run)
    is_here = not (staged.is_new and arguments.dry_run)
    restart = needs_restart(layout, layout.releases / staged.version) if is_here else None
    return {"version": staged.version, "changed": staged.is_new, "restart": restart}


def switch_version(layout: Layout, arguments: argparse.Namespace) -> dict[str, object]:
    """Switch to what is installed."""
    if not (layout.releases / arguments.what / STAMP).is_file():
        raise ReleaseError(f"{arguments.what} is not installed")
    if arguments.dry_run:
        return {"version": arguments.what, "changed": would_switch(layout, arguments.what)}
    return {**switch(layout, arguments.what), "removed": remove_old(layout)}


def roll_back(layout: Layout, arguments: argparse.Namespace) -> dict[str, object]:
    """Switch to the version before."""
    before, version = layout.version_of(layout.current), layout.version_of(layout.previous)
    if version is None or version == before:
        raise ReleaseError("there is no version before this one to go back to")
    return {**switch(layout, version), "before": before}


def refresh_service(layout: Layout, arguments: argparse.Namespace) -> dict[str, object]:
    """Take over from itself."""
    version = layout.version_of(layout.current)
    if version is None:
        raise ReleaseError("no version is installed")
    return {"version": version, "restarted": refresh(layout, version)}


def get_status(layout: Layout, arguments: argparse.Namespace) -> dict[str, object]:
    """What is installed."""
    return {
        "version": layout.version_of(layout.current),
        "previous": layout.version_of(layout.previous),
        "installed": sorted(path.parent.name for path in layout.releases.glob(f"*/{STAMP}")),
    }


if __name__ == "__main__":
    main()
