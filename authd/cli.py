"""The command line. Exit codes: 0 done, 1 refused or failed with one clear sentence, 2 wrong usage."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authd import __version__
from authd.cli_options import config_option, json_option
from authd.errors import AuthdError

if TYPE_CHECKING:
    from authd.config import Config

# Commands with a module of their own: it is read when it is asked for. All of them together take a second, and a
# playbook or a script calls one after the other.
_ELSEWHERE = {
    "explain": "authd.cli_explain",
    "keys": "authd.cli_keys",
    "nginx": "authd.cli_nginx",
    "ready": "authd.cli_ready",
    "service-tokens": "authd.cli_service_tokens",
    "sessions": "authd.cli_sessions",
    "state": "authd.cli_state",
    "tunnel": "authd.cli_tunnel",
}


class _Group(click.Group):
    """Turns every error of ours into one message and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group.get_command`."""
        if cmd_name in _ELSEWHERE:
            module = importlib.import_module(_ELSEWHERE[cmd_name])
            command: click.Command = getattr(module, cmd_name.replace("-", "_"))
            return command
        return super().get_command(ctx, cmd_name)

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
    from authd.config import load_config
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
    from authd.config import render_json_schema

    click.echo(json.dumps(render_json_schema(), indent=2))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"authd {__version__}")


if __name__ == "__main__":
    main()
