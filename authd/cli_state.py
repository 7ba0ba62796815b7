"""`authd state`: the store on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from authd.back_up_state import back_up_state
from authd.cli_options import config_option, json_option
from authd.config import load_config
from authd.migrate_state import migrate_state


@click.group()
def state() -> None:
    """The store of sessions and keys."""


@state.command("migrate")
@click.option("--from", "source", required=True, help="The store to read, as in the setting `state`.")
@click.option("--to", "target", required=True, help="The store to fill; it must be empty.")
@json_option
def state_migrate(source: str, target: str, as_json: bool) -> None:
    """Copy everything into another store; nobody is logged out.

    Stop authd first, then copy, then set `state` to the new store and start authd. Counters of rate limits are left.
    """

    def tell(count: int) -> None:
        click.echo(f"\r{count} rows", nl=False, err=True)

    done = migrate_state(source, target, on_progress=tell if sys.stderr.isatty() and not as_json else lambda _: None)
    if as_json:
        click.echo(json.dumps({"ok": True, "values": done.values, "revocations": done.ends}))
    else:
        click.echo(f"copied {done.values} values and {done.ends} revocations; now set state to the new store")


@state.command("backup")
@config_option
@click.option(
    "--to", "target", type=click.Path(path_type=Path), required=True, help="The file to write; it must not exist."
)
@json_option
def state_backup(config_path: Path, target: Path, as_json: bool) -> None:
    """Copy the SQLite store of the configuration into a file, while authd runs.

    With Redis nothing is copied: Redis is backed up by its own means. Nor is there anything to copy before the first
    start.
    """
    state_url = load_config(config_path).state
    copied = back_up_state(state_url, target)
    if as_json:
        click.echo(json.dumps({"ok": True, "copied": copied, "file": str(target) if copied else None}))
    else:
        click.echo(f"copied to {target}" if copied else "nothing to copy: the store is no SQLite file that exists")
