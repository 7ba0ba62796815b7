"""The command line. Thin: each command reads the configuration, calls one story and prints what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from ipranges import __version__, enforcing, logs, operate
from ipranges.config import Config, load_config
from ipranges.errors import ExitCode, IprangesError, MalformedNetworkError
from ipranges.metrics import write_metrics
from ipranges.report.check import check as check_status
from ipranges.report.diff import describe_diff, render_diff
from ipranges.report.run import describe_changes, describe_run, find_troubles, render_run
from ipranges.report.status import describe_status, read_status, render_status
from ipranges.report.table import render_table, render_time
from ipranges.report.why import explain_address, render_explanation
from ipranges.runtime import Runtime
from ipranges.sources import CATALOG
from ipranges.state import StateStore, hold_lock
from ipranges.sync import RunReport, preview, sync

DEFAULT_CONFIG = "/etc/ipranges/ipranges.yml"

_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The configuration file.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
_wait_option = click.option("--wait", "wait_seconds", type=click.FloatRange(0), default=0, help="Wait for the lock.")
_quiet_option = click.option("--quiet", is_flag=True, help="Print nothing unless somebody has to look (for cron).")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ipranges")
def cli() -> None:
    """Keep an origin's allowlists equal to the edge's published ranges."""


def main() -> NoReturn:
    """The console script: a known error is one sentence and its exit code, never a traceback."""
    try:
        cli(prog_name="ipranges", standalone_mode=True)
    except IprangesError as error:
        logs.tell_trouble(str(error), is_error=True)
        sys.exit(error.exit_code)
    sys.exit(ExitCode.OK)


@cli.command("sync")
@_config_option
@_json_option
@_quiet_option
@_wait_option
@click.option("--dry-run", is_flag=True, help="Change nothing; exit 10 if a run would change something.")
def sync_command(config_path: Path, as_json: bool, quiet: bool, wait_seconds: float, dry_run: bool) -> None:
    """Fetch the lists and bring every target to them."""
    config = load_config(config_path)
    if dry_run:
        _show_diff(config, as_json)
    with hold_lock(Path(config.state_dir), wait_seconds=wait_seconds):
        _finish(config, sync(config, Runtime()), as_json, quiet)


@cli.command("diff")
@_config_option
@_json_option
def diff_command(config_path: Path, as_json: bool) -> None:
    """Show what a sync would change now, and what is held. Changes nothing."""
    _show_diff(load_config(config_path), as_json)


@cli.command("check")
@_config_option
def check_command(config_path: Path) -> None:
    """One line for Nagios or Icinga: 0 ok, 1 warning, 2 critical, 3 unknown."""
    try:
        config = load_config(config_path)
        code, line = check_status(read_status(config, Runtime()), config)
    except IprangesError as error:
        click.echo(f"IPRANGES UNKNOWN - {str(error).splitlines()[0]}")
        sys.exit(3)
    click.echo(line)
    sys.exit(code)


@cli.command("status")
@_config_option
@_json_option
def status_command(config_path: Path, as_json: bool) -> None:
    """Show each source with its age and each target with its state. Asks no source."""
    runtime = Runtime()
    status = read_status(load_config(config_path), runtime)
    _show(describe_status(status), lambda: render_status(status), as_json)


@cli.command("why")
@_config_option
@_json_option
@click.argument("address")
def why_command(config_path: Path, as_json: bool, address: str) -> None:
    """Tell which source allows ADDRESS, since when, and in which targets it is live."""
    config = load_config(config_path)
    try:
        explanation = explain_address(config, address, Runtime())
    except MalformedNetworkError as error:
        raise click.BadParameter(str(error)) from None
    _show(explanation, lambda: render_explanation(explanation, config), as_json)


@cli.command("approve")
@_config_option
@_json_option
@click.argument("source")
@click.argument("sha256")
def approve_command(config_path: Path, as_json: bool, source: str, sha256: str) -> None:
    """Accept the held edition of SOURCE; SHA256 (12 digits or more) says which one you looked at."""
    _by_hand(config_path, as_json, lambda config: operate.approve(config, source, sha256, Runtime()))


@cli.command("rollback")
@_config_option
@_json_option
@click.argument("generation", type=int)
def rollback_command(config_path: Path, as_json: bool, generation: int) -> None:
    """Put an earlier GENERATION (see `history`) in force; what is left behind is held from now on."""
    _by_hand(config_path, as_json, lambda config: operate.roll_back(config, generation, Runtime()))


@cli.command("restore")
@_config_option
def restore_command(config_path: Path) -> None:
    """Load the firewall from the last good lists, without network. For the boot."""
    _by_hand(config_path, False, lambda config: operate.restore(config, Runtime()))


@cli.command("sources")
@_json_option
def sources_command(as_json: bool) -> None:
    """List the built-in sources: the official endpoint, when it was verified, what size to expect."""
    providers = CATALOG.values()
    rows = [(p.name, p.endpoint, p.verified_on, p.expected) for p in providers]
    keys = ("name", "endpoint", "verified_on", "expected", "official")
    value = [{key: getattr(provider, key) for key in keys} for provider in providers]
    _show(value, lambda: render_table(("source", "endpoint", "verified", "expected"), rows), as_json)


@cli.command("history")
@_config_option
@_json_option
def history_command(config_path: Path, as_json: bool) -> None:
    """List the generations that can be rolled back to."""
    generations = StateStore(Path(load_config(config_path).state_dir)).list_generations()
    rows = [(str(g.number), render_time(g.created_at), ", ".join(sorted(g.sources))) for g in generations]
    value = [{"generation": g.number, "created_at": g.created_at, "sources": sorted(g.sources)} for g in generations]
    _show(value, lambda: render_table(("generation", "since", "sources"), rows), as_json)


@cli.command("enforce")
@_config_option
@click.option("--confirm", "confirm_seconds", type=click.IntRange(5, 3600), help="Undo after so many seconds.")
@click.argument("targets", nargs=-1)
def enforce_command(config_path: Path, confirm_seconds: int | None, targets: tuple[str, ...]) -> None:
    """Make the firewall TARGETS enforce; with --confirm, not for long unless `ipranges confirm` is run."""
    config, runtime = load_config(config_path), Runtime()
    with hold_lock(Path(config.state_dir), wait_seconds=10):
        if confirm_seconds is None:
            report = enforcing.enforce_for_good(config, targets, runtime)
        else:
            report = enforcing.begin_enforcing(config, targets, confirm_seconds, runtime)
    if confirm_seconds is None or report.exit_code != ExitCode.OK:
        _finish(config, report, False, False)
    click.echo(f"Enforcing. Open a NEW connection and run `ipranges confirm` within {confirm_seconds} s.")
    if enforcing.wait_for_confirmation(config, targets, runtime):
        click.echo("Confirmed.")
        return
    logs.tell_trouble("not confirmed in time; the firewall observes again", is_error=True)
    sys.exit(ExitCode.HELD)


@cli.command("confirm")
@_config_option
def confirm_command(config_path: Path) -> None:
    """Confirm an `enforce --confirm` that waits."""
    labels = enforcing.confirm(load_config(config_path), Runtime())
    click.echo(f"Confirmed: {', '.join(labels)}" if labels else "Nothing waits for a confirmation.")


@cli.command("uninstall")
@_config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def uninstall_command(config_path: Path, yes: bool) -> None:
    """Take every restriction away, leaving nginx able to start."""
    config = load_config(config_path)
    if not yes:
        click.confirm("Anybody will reach the origin directly. Go on?", abort=True)
    with hold_lock(Path(config.state_dir), wait_seconds=10):
        for line in operate.uninstall(config):
            click.echo(line)


def _by_hand(config_path: Path, as_json: bool, act: Callable[[Config], RunReport]) -> None:
    config = load_config(config_path)
    with hold_lock(Path(config.state_dir), wait_seconds=10):
        _finish(config, act(config), as_json, False)


def _finish(config: Config, report: RunReport, as_json: bool, quiet: bool) -> NoReturn:
    changes = describe_changes(report)
    logs.log_changes(changes)
    logs.run_change_hook(config.on_change, changes)
    try:
        write_metrics(config, report, StateStore(Path(config.state_dir)))
    except IprangesError as error:
        # The lists are what matters, and the run's own verdict on them.
        logs.tell_trouble(f"metrics: {error}")
    if not quiet:
        _show(describe_run(report), lambda: render_run(report), as_json)
    for line in find_troubles(report):
        logs.tell_trouble(line, is_error=report.exit_code >= ExitCode.STALE)
    sys.exit(report.exit_code)


def _show_diff(config: Config, as_json: bool) -> NoReturn:
    results, memories, inspections = preview(config, Runtime())
    _show(
        describe_diff(results, memories, inspections),
        lambda: render_diff(results, memories, inspections),
        as_json,
    )
    sys.exit(ExitCode.WOULD_CHANGE if any(not i.in_sync for i in inspections) else ExitCode.OK)


def _show(value: Any, render: Callable[[], str], as_json: bool) -> None:
    click.echo(json.dumps(value, indent=1) if as_json else render().rstrip("\n"))
