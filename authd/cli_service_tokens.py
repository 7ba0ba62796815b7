"""`authd service-tokens`: credentials for machines, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click

from authd.cli_options import DurationType, config_option, json_option
from authd.config import load_config
from authd.key_changes import render_time
from authd.model import ServiceToken
from authd.service_token_changes import NewSecret, run_on_service_tokens

_duration_option = click.option(
    "--duration", type=DurationType(), default="8760h", show_default=True, help="How long it lives from now on."
)
_token_argument = click.argument("token", metavar="ID_OR_NAME")


@click.group("service-tokens")
def service_tokens() -> None:
    """Ids and secrets with which machines get in, where a non_identity policy names them."""


@service_tokens.command()
@config_option
@click.argument("name")
@_duration_option
@json_option
def create(config_path: Path, name: str, duration: int, as_json: bool) -> None:
    """Make a service token and print its secret, which is kept nowhere and shown only now."""
    _show_secret(
        run_on_service_tokens(load_config(config_path), lambda on: on.create(name, duration_seconds=duration)), as_json
    )


@service_tokens.command("list")
@config_option
@json_option
def list_tokens(config_path: Path, as_json: bool) -> None:
    """List every service token: its state, when it ends, and when it was last used."""
    found = run_on_service_tokens(load_config(config_path), lambda on: on.list())
    if as_json:
        click.echo(json.dumps({"service_tokens": [_render(token, used_at) for token, used_at in found]}, indent=2))
        return
    click.echo(f"{'NAME':24}{'CLIENT ID':41}{'STATE':10}{'EXPIRES':22}LAST USED")
    for token, used_at in found:
        state = "enabled" if token.is_enabled else "disabled"
        used = render_time(used_at) if used_at else "never"
        click.echo(f"{token.name:24}{token.client_id:41}{state:10}{render_time(token.expires_at):22}{used}")


@service_tokens.command()
@config_option
@_token_argument
@click.option(
    "--keep-previous",
    type=DurationType(),
    default="0s",
    show_default=True,
    help="How long the old secret is good beside the new one, such as 24h.",
)
@json_option
def rotate(config_path: Path, token: str, keep_previous: int, as_json: bool) -> None:
    """Make another secret for the same id and print it."""
    config = load_config(config_path)
    _show_secret(
        run_on_service_tokens(config, lambda on: on.rotate(token, keep_previous_seconds=keep_previous)), as_json
    )


@service_tokens.command()
@config_option
@_token_argument
@json_option
def disable(config_path: Path, token: str, as_json: bool) -> None:
    """Let a token in no more; `enable` lets it in again."""
    changed = run_on_service_tokens(load_config(config_path), lambda on: on.enable(token, is_enabled=False))
    _show(changed, "disabled", as_json)


@service_tokens.command()
@config_option
@_token_argument
@json_option
def enable(config_path: Path, token: str, as_json: bool) -> None:
    """Let a disabled token in again."""
    changed = run_on_service_tokens(load_config(config_path), lambda on: on.enable(token, is_enabled=True))
    _show(changed, "enabled", as_json)


@service_tokens.command()
@config_option
@_token_argument
@_duration_option
@json_option
def refresh(config_path: Path, token: str, duration: int, as_json: bool) -> None:
    """Let a token live longer, with the secret that it has."""
    changed = run_on_service_tokens(load_config(config_path), lambda on: on.extend(token, duration_seconds=duration))
    _show(changed, f"good until {render_time(changed.expires_at)}", as_json)


@service_tokens.command()
@config_option
@_token_argument
@json_option
def delete(config_path: Path, token: str, as_json: bool) -> None:
    """Remove a token for good."""
    _show(run_on_service_tokens(load_config(config_path), lambda on: on.delete(token)), "deleted", as_json)


def _render(token: ServiceToken, used_at: int | None = None) -> dict[str, object]:
    """A token for scripts, without anything of its secret."""
    return {
        "name": token.name,
        "client_id": token.client_id,
        "enabled": token.is_enabled,
        "created": render_time(token.created_at),
        "expires": render_time(token.expires_at),
        "previous_secret_until": render_time(token.previous_until) if token.previous_until else None,
        "last_used": render_time(used_at) if used_at else None,
    }


def _show(token: ServiceToken, what: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_render(token), indent=2))
    else:
        click.echo(f"{token.name} ({token.client_id}): {what}")


def _show_secret(made: NewSecret, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_render(made.token) | {"client_secret": made.secret}, indent=2))
        return
    click.echo(f"CF-Access-Client-Id: {made.token.client_id}")
    click.echo(f"CF-Access-Client-Secret: {made.secret}")
    click.echo("The secret is shown this once and kept nowhere.", err=True)
