"""Which format a file target has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ipranges.config import CaddyTarget, FileTarget, JsonTarget, NginxTarget
from ipranges.networks import NetworkSet
from ipranges.targets import block_formats, line_formats

# nginx looks through `allow` and `set_real_ip_from` one by one: at 100,000 it serves a quarter of the
# requests. `geo` is a tree.
LINEAR_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class FileFormat:
    """`render(label, networks)` is the whole file; `parse(text)` is its inverse and refuses anything else.

    `merges_always_allow` is False where an entry means trust in a header rather than access.
    """

    render: Callable[[str, NetworkSet], str]
    parse: Callable[[str], NetworkSet]
    merges_always_allow: bool = True
    is_linear: bool = False


def build_file_format(target: FileTarget) -> FileFormat:
    """The format of one configured file target."""
    if isinstance(target, NginxTarget):
        return _build_nginx(target)
    if isinstance(target, CaddyTarget):
        return FileFormat(
            partial(block_formats.render_caddy, snippet=target.snippet),
            partial(block_formats.parse_caddy, snippet=target.snippet),
        )
    if isinstance(target, JsonTarget):
        return FileFormat(block_formats.render_json, block_formats.parse_json)
    return FileFormat(line_formats.PLAIN.render, line_formats.PLAIN.parse)


def _build_nginx(target: NginxTarget) -> FileFormat:
    if target.type == "nginx-geo":
        lines = line_formats.build_nginx_geo(target.variable, target.mode)
        return FileFormat(lines.render, lines.parse)
    if target.type == "nginx-allow":
        lines = line_formats.build_nginx_allow(target.mode)
        return FileFormat(lines.render, lines.parse, is_linear=True)
    lines = line_formats.build_nginx_realip()
    # A host in always_allow may connect; believing the visitor's address that it names is another matter.
    return FileFormat(lines.render, lines.parse, merges_always_allow=False, is_linear=True)
