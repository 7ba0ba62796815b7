"""`authd nginx`: the files that nginx includes, on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click

from authd.cli_options import config_option, json_option
from authd.config import load_config
from authd.nginx_files import DEFAULT_CACHE_DIRECTORY, write_files
from authd.nginx_files.compare import Compared, Finding, compare_files, split_dump
from authd.nginx_files.from_config import render_nginx_files

_NGINX_SECONDS = 60
_cache_directory_option = click.option(
    "--cache-dir",
    "cache_directory",
    default=DEFAULT_CACHE_DIRECTORY,
    show_default=True,
    help="Where nginx keeps decisions for a second: a directory of nginx' user alone, best on a tmpfs.",
)


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
@_cache_directory_option
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


@nginx.command("check")
@config_option
@_cache_directory_option
@click.option("--nginx", "program", default="nginx", show_default=True, help="The nginx to ask for its configuration.")
@click.option("--nginx-conf", help="Its main file, if it is not nginx' usual one.")
@click.option(
    "--dump",
    type=click.File("r", encoding="utf-8", errors="replace"),
    help="What nginx -T printed, instead of asking nginx; - for standard input.",
)
@json_option
def nginx_check(
    config_path: Path,
    cache_directory: str,
    program: str,
    nginx_conf: str | None,
    dump: TextIO | None,
    as_json: bool,
) -> None:
    """Compare authd's files that nginx includes, copies too, with what this version renders.

    Looks through all that nginx reads (nginx -T, which wants root). Exit code 1 if a file is another one, or if nginx
    includes none of them. Not found: lines that were copied without their heading, and what nginx was not reloaded for.
    """
    rendered = render_nginx_files(load_config(config_path), cache_directory=cache_directory)
    found = compare_files(split_dump(dump.read() if dump else _ask_nginx(program, nginx_conf)), rendered)
    is_fine = bool(found) and all(each.finding in (Finding.CURRENT, Finding.YOURS) for each in found)
    if as_json:
        click.echo(json.dumps({"ok": is_fine, "files": [asdict(each) for each in found]}, indent=2))
    else:
        for each in found:
            click.echo(f"{each.path}: {_describe(each)}")
    if not found:
        click.echo("authd: nginx includes none of authd's files", err=True)
    elif not is_fine:
        click.echo(
            "authd: run `authd nginx render`, copy anew what you keep a copy of, then nginx -t and reload nginx",
            err=True,
        )
    sys.exit(0 if is_fine else 1)


def _describe(file: Compared) -> str:
    if file.finding is Finding.DIFFERS:
        return f"differs from this version's {file.name}, first in line {file.line}"
    if file.finding is Finding.UNKNOWN:
        return f"this version has no {file.name}"
    return "yours, not compared" if file.finding is Finding.YOURS else "current"


def _ask_nginx(program: str, main_file: str | None) -> str:
    command = [program, "-T", "-q", *(("-c", main_file) if main_file else ())]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=_NGINX_SECONDS)
    except FileNotFoundError as error:
        raise click.ClickException(
            f"{program}: not found; name it with --nginx, or give its output with --dump"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise click.ClickException(f"{program}: cannot be run: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise click.ClickException(f"nginx does not accept its own configuration, so nothing was compared:\n{said}")
    return done.stdout.decode(errors="replace")
