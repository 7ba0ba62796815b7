"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

DEFAULT_CONFIG = Path("/etc/authd/authd.yml")

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    envvar="AUTHD_CONFIG",
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")
