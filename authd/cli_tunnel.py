"""`authd tunnel`: origins that open no port, on the command line of an edge."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from authd.cli_options import json_option
from authd.errors import TunnelError
from authd.nginx_files import write_files
from authd.tunnel import origins as model
from authd.tunnel.changes import add_origin, revoke_origin
from authd.tunnel.render import EdgeSettings, parse_edge, render_cloudflared, render_edge, render_origin_files
from authd.tunnel.status import OriginStatus, get_status

_Result = TypeVar("_Result")
directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=model.DIRECTORY,
    show_default=True,
    envvar="AUTHD_TUNNEL_DIRECTORY",
    help="Where origins and their keys are kept.",
)
run_directory_option = click.option(
    "--run-directory",
    type=click.Path(path_type=Path),
    default=model.RUN_DIRECTORY,
    show_default=True,
    envvar="AUTHD_TUNNEL_RUN_DIRECTORY",
    help="Where the sockets of origins appear.",
)
group_option = click.option("--group", default="www-data", show_default=True, help="The group of nginx' workers.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory to write to; made if it is missing.",
)
name_argument = click.argument("name")
engine_option = click.option("--engine", type=click.Choice(model.ENGINES), default="ssh", show_default=True)


@click.group()
def tunnel() -> None:
    """Origins that open no port: they dial out to this edge, by OpenSSH or WireGuard."""


@tunnel.command("add-origin")
@name_argument
@click.option("--public-key", required=True, metavar="KEY|FILE", help="The origin's public key, or its file.")
@click.option("--service", help="Its upstream in nginx; replicas share one.  [default: NAME]")
@click.option("--connections", type=click.IntRange(1, model.MAX_CONNECTIONS), default=4, show_default=True)
@click.option("--from", "sources", multiple=True, metavar="NETWORK", help="Where it may dial in from; repeatable.")
@engine_option
@click.option("--address", default="", help="WireGuard: its address inside, such as 10.99.0.2.")
@click.option("--port", type=click.IntRange(1, 65535), help="WireGuard: where its application listens inside.")
@group_option
@directory_option
@run_directory_option
@json_option
def add(
    name: str,
    public_key: str,
    service: str | None,
    connections: int,
    sources: tuple[str, ...],
    engine: str,
    address: str,
    port: int | None,
    group: str,
    directory: Path,
    run_directory: Path,
    as_json: bool,
) -> None:
    """Let an origin dial in with its key, or change what is known of it. Needs root.

    Then render the edge's files again and reload nginx.
    """
    if (engine == "wireguard") != bool(address and port):
        raise click.UsageError("--address and --port belong to --engine wireguard, which needs both")
    parse_key = model.parse_ssh_key if engine == "ssh" else model.parse_wireguard_key
    origin = model.Origin(
        model.parse_name(name),
        model.parse_name(service or name),
        engine,
        parse_key(_read_key(public_key)),
        connections,
        tuple(model.parse_source(each) for each in sources),
        model.parse_address(address) if address else "",
        port or 0,
    )
    changed = _as_root(lambda: add_origin(origin, directory, run_directory, group=group))
    if as_json:
        click.echo(json.dumps({"origin": asdict(origin), "changed": changed}, indent=2))
    else:
        click.echo(f"{name}: {'may dial in' if changed else 'unchanged'}")


@tunnel.command("list")
@directory_option
@json_option
def list_origins(directory: Path, as_json: bool) -> None:
    """List the origins that may dial in."""
    found = model.load_origins(directory)
    if as_json:
        click.echo(json.dumps({"origins": [asdict(origin) for origin in found]}, indent=2))
        return
    click.echo(f"{'NAME':30}{'SERVICE':30}{'ENGINE':11}FROM")
    for origin in found:
        where = ", ".join(origin.sources) or origin.address or "anywhere"
        click.echo(f"{origin.name:30}{origin.service:30}{origin.engine:11}{where}")


@tunnel.command()
@name_argument
@directory_option
@run_directory_option
@json_option
def revoke(name: str, directory: Path, run_directory: Path, as_json: bool) -> None:
    """Remove an origin's key and end its connections now. Needs root; once on each edge."""
    ended = _as_root(lambda: revoke_origin(name, directory, run_directory))
    if as_json:
        click.echo(json.dumps({"revoked": name, "ended": ended}, indent=2))
    else:
        click.echo(f"{name}: revoked, {ended} connections ended")


@tunnel.command()
@run_directory_option
@json_option
def status(run_directory: Path, as_json: bool) -> None:
    """Which origin is connected to this edge: since when, from where, how often."""
    found = get_status(run_directory / "status.json", time.time())
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(f"{'NAME':30}{'ENGINE':11}{'CONNECTIONS':13}{'SINCE':22}FROM")
    for origin in found.origins:
        click.echo(_render_line(origin))


@tunnel.command()
@directory_option
@run_directory_option
def watch(directory: Path, run_directory: Path) -> None:
    """Watch over the tunnels until stopped: what authd-tunnel-watch.service runs."""
    from authd.tunnel.watch import Watch

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    _as_root(Watch(directory, run_directory).run)


@tunnel.group()
def render() -> None:
    """Write the files of an edge, of an origin, or of cloudflared."""


@render.command()
@out_option
@group_option
@click.option("--port", type=click.IntRange(1, 65535), default=7844, show_default=True, help="Where origins dial in.")
@click.option("--wireguard-network", default="10.99.0.1/24", show_default=True, help="The edge's own address in it.")
@click.option("--wireguard-port", type=click.IntRange(1, 65535), default=51820, show_default=True)
@click.option("--program", default="/usr/local/bin/authd", show_default=True, help="authd, for its unit.")
@directory_option
@run_directory_option
@json_option
def edge(
    out: Path,
    group: str,
    port: int,
    wireguard_network: str,
    wireguard_port: int,
    program: str,
    directory: Path,
    run_directory: Path,
    as_json: bool,
) -> None:
    """The edge's files: sshd, units, nginx upstreams, WireGuard. docs/tunnels.md says where each goes."""
    settings = EdgeSettings(directory, run_directory, group, port, wireguard_network, wireguard_port, program)
    _write(render_edge(model.load_origins(directory), settings), out, as_json)


@render.command()
@out_option
@click.option("--name", required=True, help="This origin, as the edges know it.")
@click.option("--to", default="127.0.0.1:8080", show_default=True, help="The application: HOST:PORT or a unix socket.")
@click.option("--connections", type=click.IntRange(1, model.MAX_CONNECTIONS), default=4, show_default=True)
@click.option(
    "--edge",
    "edges",
    multiple=True,
    required=True,
    metavar="NAME=HOST[:PORT],KEY[,ADDRESS]",
    help="An edge with its host key (WireGuard: its public key and address inside); repeatable.",
)
@engine_option
@click.option("--address", default="", help="WireGuard: the address of this origin inside.")
@directory_option
@json_option
def origin(
    out: Path,
    name: str,
    to: str,
    connections: int,
    edges: tuple[str, ...],
    engine: str,
    address: str,
    directory: Path,
    as_json: bool,
) -> None:
    """The origin's files: ssh, unit and pinned host keys, or WireGuard."""
    if (engine == "wireguard") != bool(address):
        raise click.UsageError("--address belongs to --engine wireguard, which needs it")
    known = tuple(parse_edge(each, engine=engine) for each in edges)
    inside = model.parse_address(address) if address else ""
    here = model.Origin(model.parse_name(name), name, engine, "", connections, (), inside)
    _write(render_origin_files(here, known, to=to, directory=directory), out, as_json)


@render.command()
@out_option
@click.option("--host", "hosts", multiple=True, required=True, help="A public host name; repeatable.")
@click.option("--tunnel", "tunnel_id", required=True, help="The tunnel's id, as cloudflared tunnel create said.")
@click.option("--credentials", required=True, help="The file that cloudflared tunnel create wrote.")
@click.option("--service", default="http://127.0.0.1:8080", show_default=True, help="nginx of this origin.")
@json_option
def cloudflared(
    out: Path, hosts: tuple[str, ...], tunnel_id: str, credentials: str, service: str, as_json: bool
) -> None:
    """The ingress of Cloudflare's connector, where the edge is Cloudflare."""
    _write(render_cloudflared(hosts, tunnel=tunnel_id, credentials=credentials, service=service), out, as_json)


def _write(files: dict[str, str], out: Path, as_json: bool) -> None:
    changed = write_files(files, out)
    if as_json:
        click.echo(json.dumps({"directory": str(out), "files": sorted(files), "changed": list(changed)}, indent=2))
    else:
        click.echo(f"{out}: {len(files)} files, {len(changed)} changed" + "".join(f"\n  {name}" for name in changed))


def _read_key(text: str) -> str:
    """A key, or the file that holds it: no public key begins with a slash or a dot."""
    if not text.startswith(("/", ".")):
        return text
    try:
        return Path(text).read_text("ascii")
    except (OSError, ValueError) as error:
        raise TunnelError(f"the public key {text} cannot be read: {error}") from error


def _as_root(act: Callable[[], _Result]) -> _Result:
    try:
        return act()
    except PermissionError as error:
        raise TunnelError(f"this needs root: {error.strerror} {error.filename or ''}".rstrip()) from error


def _render_line(origin: OriginStatus) -> str:
    from authd.key_changes import render_time

    count = f"{origin.connections} of {origin.wanted}"
    since = render_time(int(origin.since)) if origin.since is not None else "away"
    return f"{origin.name:30}{origin.engine:11}{count:13}{since:22}{', '.join(origin.addresses)}"
