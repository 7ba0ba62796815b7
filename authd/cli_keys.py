"""`authd keys`: the signing keys on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click

from authd.cli_options import config_option, json_option
from authd.config import load_config
from authd.key_changes import KeyStatus, render_time, run_on_keys


@click.group()
def keys() -> None:
    """The keys that sign authd's tokens: they follow one another by themselves, every 42 days."""


@keys.command("list")
@config_option
@json_option
def list_keys(config_path: Path, as_json: bool) -> None:
    """List every key that is published: which one signs, which one is next, which ones only verify."""
    _show(run_on_keys(load_config(config_path), lambda keys: keys.list()), as_json)


@keys.command()
@config_option
@click.option("--now", "at_once", is_flag=True, help="Even if the next key has not been published for 24 h.")
@json_option
def rotate(config_path: Path, at_once: bool, as_json: bool) -> None:
    """Let the next key sign from now on. Nobody is logged out: the old key goes on verifying what it signed.

    Without --now only if the next key has been published for 24 h, as applications may keep the published keys that
    long.
    """
    _show(run_on_keys(load_config(config_path), lambda keys: keys.rotate(at_once=at_once)), as_json)


@keys.command()
@config_option
@click.argument("kid")
@json_option
def retire(config_path: Path, kid: str, as_json: bool) -> None:
    """End a key at once, for example because it was stolen: every token that it signed is refused within two seconds.

    If it was the one that signs, the next one does from now on, and everybody has to log in again. Applications that
    verify tokens themselves go on trusting the key until they read the published keys again.
    """
    _show(run_on_keys(load_config(config_path), lambda keys: keys.retire(kid)), as_json)


def _show(found: tuple[KeyStatus, ...], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"keys": [key.to_json() for key in found]}, indent=2))
        return
    click.echo(f"{'STATE':10}{'CREATED':22}{'SIGNS FROM':22}{'VERIFIES UNTIL':22}KID")
    for key in found:
        times = (render_time(at) for at in (key.created_at, key.signs_from, key.verifies_until))
        click.echo(f"{key.state:10}{''.join(f'{time:22}' for time in times)}{key.key_id}")
