"""The files of an edge, of an origin, and of cloudflared: templates in this package, filled."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from authd.errors import TunnelError
from authd.tunnel.origins import Origin, parse_address, parse_name, parse_ssh_key, parse_wireguard_key

DEFAULT_SSH_PORT = 7844
DEFAULT_WIREGUARD_PORT = 51820
# Colons for IPv6; no space, quote or line break gets from here into a file.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
_TARGET = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-f:]+\]):[0-9]{1,5}|/[A-Za-z0-9._/-]+")
_PATH = re.compile(r"/[A-Za-z0-9._/-]+")
_SERVICE = re.compile(r"(https?://[A-Za-z0-9.:\[\]-]+|unix:/[A-Za-z0-9._/-]+)")


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What the files of an edge need beside its origins. `group` is nginx'."""

    directory: Path
    run_directory: Path
    group: str = "www-data"
    port: int = DEFAULT_SSH_PORT
    wireguard_network: str = "10.99.0.1/24"
    wireguard_port: int = DEFAULT_WIREGUARD_PORT
    program: str = "/usr/local/bin/authd"


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge as its origins know it. `host_key` is OpenSSH's or WireGuard's; `address` is the latter's, inside."""

    name: str
    host: str
    port: int
    host_key: str
    address: str = ""


def render_edge(origins: tuple[Origin, ...], settings: EdgeSettings) -> dict[str, str]:
    """All files of an edge by name; those of WireGuard only where an origin uses it. Raises TunnelError."""
    by_service = sorted(origins, key=lambda origin: (origin.service, origin.name))
    upstreams = [(name, list(group)) for name, group in itertools.groupby(by_service, lambda each: each.service)]
    values = {name: getattr(settings, name) for name in EdgeSettings.__slots__}
    for path in (settings.directory, settings.run_directory, settings.program):
        _require(_PATH, str(path), "path")
    _require(re.compile(r"[a-z_][a-z0-9_-]*"), settings.group, "group")
    _require_network(settings.wireguard_network)
    files = _render("edge", origins=origins, upstreams=upstreams, **values)
    if not any(origin.engine == "wireguard" for origin in origins):
        for name in ("wg-authd.conf", "wg-reload.conf", "authd-tunnel.nft"):
            del files[name]
    return files


def render_origin_files(origin: Origin, edges: tuple[Edge, ...], *, to: str, directory: Path) -> dict[str, str]:
    """The files of one origin for its engine. `to` is `127.0.0.1:8080` or a unix socket. Raises TunnelError."""
    _require(_PATH, str(directory), "path")
    if origin.engine == "ssh":
        _require(_TARGET, to, "target (HOST:PORT, or the path of a unix socket)")
    files = _render("origin", origin=origin, edges=edges, to=to, directory=directory)
    wireguard = {"wg-authd.conf", "wg-reload.conf"}
    return {name: text for name, text in files.items() if (name in wireguard) == (origin.engine == "wireguard")}


def parse_edge(text: str, *, engine: str) -> Edge:
    """`NAME=HOST[:PORT],KEY`, for WireGuard `NAME=HOST[:PORT],KEY,ADDRESS`. Raises TunnelError."""
    name, _, rest = text.partition("=")
    host, *others = rest.split(",")
    if len(others) != (1 if engine == "ssh" else 2):
        wanted = "NAME=HOST[:PORT],KEY" + ("" if engine == "ssh" else ",ADDRESS")
        raise TunnelError(f"--edge {text!r} is not {wanted}")
    host, port = _parse_host(host, DEFAULT_SSH_PORT if engine == "ssh" else DEFAULT_WIREGUARD_PORT)
    if engine == "ssh":
        return Edge(parse_name(name), host, port, parse_ssh_key(others[0]))
    return Edge(parse_name(name), host, port, parse_wireguard_key(others[0]), parse_address(others[1]))


def render_cloudflared(hosts: tuple[str, ...], *, tunnel: str, credentials: str, service: str) -> dict[str, str]:
    """The ingress configuration of Cloudflare's own connector. Raises TunnelError."""
    for host in hosts:
        _require(re.compile(r"(\*\.)?[a-z0-9.-]+"), host, "host")
    _require(re.compile(r"[A-Za-z0-9-]+"), tunnel, "tunnel")
    _require(_PATH, credentials, "path")
    _require(_SERVICE, service, "service (http://127.0.0.1:8080 or unix:/path)")
    quoted = tuple(f'"{host}"' for host in hosts)
    return _render("cloudflared", hosts=quoted, tunnel=tunnel, credentials=credentials, service=service)


def _parse_host(text: str, default_port: int) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([0-9a-fA-F:]+)\](?::(\d{1,5}))?", text)
    plain = re.fullmatch(r"([A-Za-z0-9.-]+)(?::(\d{1,5}))?", text)
    found = bracketed or plain
    if not found or not _HOST.fullmatch(found[1]) or not 0 < int(found[2] or default_port) < 65536:
        raise TunnelError(f"{text!r} is no host and port")
    return found[1], int(found[2] or default_port)


def _require(shape: re.Pattern[str], text: str, what: str) -> None:
    if not shape.fullmatch(text):
        raise TunnelError(f"{text!r} is no {what}")


def _require_network(text: str) -> None:
    try:
        IPv4Interface(text)
    except ValueError as error:
        raise TunnelError(f"--wireguard-network {text!r} is not ADDRESS/BITS") from error


def _render(folder: str, **values: object) -> dict[str, str]:
    # The files are no HTML; every value in them was held to its shape before.
    environment = Environment(  # noqa: S701
        loader=PackageLoader("authd.tunnel", f"templates/{folder}"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return {name: environment.get_template(name).render(**values) for name in environment.list_templates()}
