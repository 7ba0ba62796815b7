"""`authd sessions`: the sessions on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click

from authd.cli_options import config_option, json_option
from authd.config import load_config
from authd.key_changes import render_time
from authd.model import Session
from authd.session_changes import Revoked, SessionChanges, render_session, run_on_sessions


@click.group()
def sessions() -> None:
    """Who is logged in, and how to end that."""


@sessions.command("list")
@config_option
@click.option("--person", help="Only of this person: an e-mail address or a subject.")
@click.option("--provider", help="Only those that began with this identity provider.")
@json_option
def list_sessions(config_path: Path, person: str | None, provider: str | None, as_json: bool) -> None:
    """List the sessions that live, newest first."""
    found = run_on_sessions(load_config(config_path), lambda on: on.list(person=person, provider=provider))
    if as_json:
        click.echo(json.dumps({"sessions": [render_session(session) for session in found]}, indent=2))
        return
    click.echo(f"{'ID':18}{'BEGAN':22}{'ENDS':22}{'FROM':18}{'PROVIDER':12}PERSON")
    for each in found:
        times = f"{render_time(each.created_at):22}{render_time(each.expires_at):22}"
        click.echo(f"{each.id:18}{times}{each.client_ip:18}{each.identity.provider_id:12}{each.identity.account}")
    click.echo(f"{len(found)} sessions", err=True)


@sessions.command()
@config_option
@click.argument("session_id", metavar="ID")
@json_option
def show(config_path: Path, session_id: str, as_json: bool) -> None:
    """Show one session. ID may be its beginning, as the log prints it."""

    async def find(on: SessionChanges) -> tuple[Session, int]:
        session = await on.get(session_id)
        return session, await on.last_use(session)

    session, used_at = run_on_sessions(load_config(config_path), find)
    document = render_session(session) | {"last_noted_use": render_time(used_at)}
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for name, value in document.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' '):15}{shown if shown not in (None, '') else '-'}")


@sessions.command()
@config_option
@click.option("--session", "session_id", metavar="ID", help="One session, by its id or the beginning of it.")
@click.option("--person", help="Every session of a person: an e-mail address or a subject.")
@click.option("--application", help="Every token of an application, by its id.")
@click.option("--provider", help="Every session that began with an identity provider, by its id.")
@click.option("--everything", is_flag=True, help="Every session; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def revoke(config_path: Path, everything: bool, yes: bool, as_json: bool, **chosen: str | None) -> None:
    """End sessions, in force on every worker and machine within two seconds. Name exactly one of what.

    Whoever may still log in can do so again. A login that is under way at this moment has ended, too.
    """
    named = {name: value for name, value in chosen.items() if value is not None}
    if len(named) + everything != 1:
        raise click.UsageError("name exactly one of --session, --person, --application, --provider and --everything")
    if everything and not yes:
        click.confirm("This ends the session of everybody. Go on?", abort=True)
    revoked = run_on_sessions(load_config(config_path), lambda on: _revoke(on, named))
    if as_json:
        click.echo(json.dumps({"revoked": revoked.what, "sessions": revoked.sessions}, indent=2))
        return
    counted = "" if revoked.sessions is None else f" ({revoked.sessions} that lived)"
    click.echo(f"ended {revoked.what}{counted}")


async def _revoke(on: SessionChanges, named: dict[str, str]) -> Revoked:
    match named:
        case {"session_id": value}:
            return await on.revoke_session(value)
        case {"person": value}:
            return await on.revoke_person(value)
        case {"application": value}:
            return await on.revoke_application(value)
        case {"provider": value}:
            return await on.revoke_provider(value)
    return await on.revoke_everything()
