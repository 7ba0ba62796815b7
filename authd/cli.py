"""The command line. Exit codes: 0 done, 1 refused or failed with one clear sentence, 2 wrong usage."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from authd import __version__
from authd.cli_explain import explain
from authd.cli_keys import keys
from authd.cli_options import config_option, json_option
from authd.cli_ready import ready
from authd.cli_service_tokens import service_tokens
from authd.cli_sessions import sessions
from authd.cli_state import state
from authd.cli_tunnel import tunnel
from authd.config import Config, load_config, render_json_schema
from authd.errors import AuthdError
from authd.nginx_files import DEFAULT_CACHE_DIRECTORY, render_nginx_files, write_files


class _Group(click.Group):
    """Turns every error of ours into one message and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        """See the class."""
        try:
            return super().invoke(ctx)
        except AuthdError as error:
            click.echo(f"authd: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="authd %(version)s")
def main() -> None:
    """Access control for web applications behind nginx, in the manner of Cloudflare Access."""
    # Whatever we make (the store, the nginx files) is nobody else's to read.
    os.umask(0o027)


@main.command()
@config_option
def serve(config_path: Path) -> None:
    """Answer nginx until stopped.

    SIGHUP loads a new configuration: a good one is in force within two seconds, a bad one is logged and changes
    nothing.
    """
    from authd.metrics_files import shared_metrics

    with shared_metrics():
        from authd.serve import serve as run

        run(config_path)


@main.command("check-config")
@config_option
@json_option
def check_config(config_path: Path, as_json: bool) -> None:
    """Check the configuration and list every mistake with its line."""
    from authd.errors import ConfigError

    try:
        config = load_config(config_path)
    except ConfigError as error:
        if not as_json:
            raise
        mistakes = [
            {"line": each.line, "key": each.key, "message": each.message, "value": each.value, "allowed": each.allowed}
            for each in error.mistakes
        ]
        click.echo(json.dumps({"ok": False, "mistakes": mistakes}, indent=2))
        sys.exit(1)
    counts = _counts(config)
    if as_json:
        click.echo(json.dumps({"ok": True, **counts}, indent=2))
    else:
        click.echo(f"{config_path}: ok ({', '.join(f'{n} {name}' for name, n in counts.items())})")


def _counts(config: Config) -> dict[str, int]:
    return {
        "applications": len(config.applications),
        "policies": sum(len(application.policies) for application in config.applications),
        "groups": len(config.groups),
        "identity_providers": len(config.identity_providers),
    }


@main.command("config-schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    click.echo(json.dumps(render_json_schema(), indent=2))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"authd {__version__}")


@main.group()
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


main.add_command(explain)
main.add_command(keys)
main.add_command(ready)
main.add_command(service_tokens)
main.add_command(sessions)
main.add_command(state)
main.add_command(tunnel)


if __name__ == "__main__":
    main()
