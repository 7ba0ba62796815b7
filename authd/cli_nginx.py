"""`authd nginx`: the files that nginx includes, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click

from authd.cli_options import config_option, json_option
from authd.config import load_config
from authd.nginx_files import DEFAULT_CACHE_DIRECTORY, write_files
from authd.nginx_files.from_config import render_nginx_files


@click.group()
def nginx() -> None:
    """The nginx files that belong to a configuration."""


@nginx.command("render")
@config_option
@click.option(
    "--out",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory to write to; made if it is missing.",
)
@click.option(
    "--cache-dir",
    "cache_directory",
    default=DEFAULT_CACHE_DIRECTORY,
    show_default=True,
    help="Where nginx keeps decisions for a second: a directory of nginx' user alone, best on a tmpfs.",
)
@json_option
def nginx_render(config_path: Path, directory: Path, cache_directory: str, as_json: bool) -> None:
    """Write the nginx files for this configuration (socket, prefix, cookie names, scope map).

    Include them as docs/nginx.md says, test with nginx -t, and reload nginx.
    """
    config = load_config(config_path)
    # A secret in the files is for nginx' master alone, which reads them as root.
    mode = 0o600 if config.listen_secret_file else 0o644
    files = render_nginx_files(config, cache_directory=cache_directory)
    changed = write_files(files, directory, mode=mode)
    if as_json:
        click.echo(
            json.dumps({"directory": str(directory), "files": sorted(files), "changed": list(changed)}, indent=2)
        )
    else:
        click.echo(
            f"{directory}: {len(files)} files, {len(changed)} changed" + "".join(f"\n  {name}" for name in changed)
        )
