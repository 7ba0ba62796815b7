"""Formats that hold all networks in one value: Caddy's snippet and JSON."""

from __future__ import annotations

import json
import re

from ipranges.errors import RefusedError
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.targets.marker import MARK, render_comment_header


def render_caddy(label: str, networks: NetworkSet, *, snippet: str) -> str:
    """A snippet for `import`: everybody but the edge is cut off without an answer."""
    header = render_comment_header(
        label,
        networks,
        f"In a site: `import {snippet}`. In the global options: `order abort first`, since Caddy",
        "otherwise runs redirects and handle blocks before it (docs/origin-lockdown.md).",
    )
    cidrs = " ".join(networks.all_cidrs)
    return f"{header}({snippet}) {{\n\t@{snippet}_refused not remote_ip {cidrs}\n\tabort @{snippet}_refused\n}}\n"


def parse_caddy(text: str, *, snippet: str) -> NetworkSet:
    """The set of a snippet of ours; raises RefusedError for any other text."""
    pattern = (
        rf"(?:#[^\n]*\n)*\({snippet}\) \{{\n"
        rf"\t@{snippet}_refused not remote_ip ([^\n]*)\n"
        rf"\tabort @{snippet}_refused\n\}}\n"
    )
    match = re.fullmatch(pattern, text)
    if match is None:
        raise RefusedError("the snippet is not as ipranges writes it")
    return parse_network_set(match[1].split())


def render_json(label: str, networks: NetworkSet) -> str:
    """For programs; a source of type `url` with `json: [\"ipv4[]\", \"ipv6[]\"]` reads it again."""
    document = {
        "note": f"{MARK} for the target {label}. Do not edit: the next run undoes it.",
        "sha256": networks.sha256,
        "ipv4": networks.cidrs("v4"),
        "ipv6": networks.cidrs("v6"),
    }
    return json.dumps(document, indent=1) + "\n"


def parse_json(text: str) -> NetworkSet:
    """The set; raises RefusedError for anything that is not such a file."""
    try:
        document = json.loads(text)
        cidrs = [*document["ipv4"], *document["ipv6"]]
        if not all(isinstance(cidr, str) for cidr in cidrs):
            raise RefusedError("the file holds something that is not a text")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RefusedError("the file is not JSON as ipranges writes it") from None
    return parse_network_set(cidrs)
