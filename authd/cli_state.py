"""`authd state`: the store on the command line."""

from __future__ import annotations

import json
import sys

import click

from authd.cli_options import json_option
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
