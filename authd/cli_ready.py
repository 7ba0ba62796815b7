"""`authd ready`: whether the authd of this machine serves."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from authd.cli_options import config_option, json_option
from authd.config import load_config
from authd.errors import SecretError
from authd.readiness import ask_readiness, wait_until_ready


@click.command()
@config_option
@click.option("--wait", "seconds", type=click.FloatRange(0, 600), default=0, help="Ask again for so many seconds.")
@click.option("--expect-version", help="Only this version counts.")
@json_option
def ready(config_path: Path, seconds: float, expect_version: str | None, as_json: bool) -> None:
    """Ask the authd of this machine whether it is ready: configuration, store and keys.

    Exit code 0 if it is, 1 with the cause if not.
    """
    config = load_config(config_path)
    secret = _load_secret(config.listen_secret_file)
    found = wait_until_ready(lambda: ask_readiness(config.listen, secret), version=expect_version, seconds=seconds)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    elif found.is_ready:
        click.echo(f"ready: authd {found.version}")
    else:
        click.echo(f"authd: not ready: {'; '.join(found.problems)}", err=True)
    sys.exit(0 if found.is_ready else 1)


def _load_secret(path: Path | None) -> str | None:
    try:
        return path.read_text("ascii").strip() if path else None
    except (OSError, ValueError) as error:
        raise SecretError(f"{path}: cannot be read: {error}") from error
