"""Formats of one network a line, with the words around it fixed: nginx, HAProxy and plain text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipranges.errors import RefusedError
from ipranges.networks import NetworkSet, parse_network_set, quote
from ipranges.targets.marker import render_comment_header


@dataclass(frozen=True, slots=True)
class LineFormat:
    """`before` and `after` enclose each network; `opening` and `closing` are whole lines around all."""

    before: str = ""
    after: str = ""
    opening: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def render(self, label: str, networks: NetworkSet) -> str:
        """A whole file."""
        header = render_comment_header(label, networks, *self.remarks)
        lines = [f"{self.before}{cidr}{self.after}" for cidr in networks.all_cidrs]
        return header + "".join(f"{line}\n" for line in (*self.opening, *lines, *self.closing))

    def parse(self, text: str) -> NetworkSet:
        """The set that a file of ours holds; raises RefusedError that names a line that is not ours."""
        framing = {*self.opening, *self.closing}
        tokens = []
        for line in text.splitlines():
            if not line or line.startswith("#") or line in framing:
                continue
            if not (line.startswith(self.before) and line.endswith(self.after)):
                raise RefusedError(f"the line {quote(line)} is not one of ours")
            tokens.append(line[len(self.before) : len(line) - len(self.after)])
        return parse_network_set(tokens)


Render = Callable[[str, NetworkSet], str]
Parse = Callable[[str], NetworkSet]


def build_nginx_geo(variable: str, mode: str) -> LineFormat:
    """`geo` on the TCP peer: `$remote_addr` is what realip made of it, hence the visitor's word."""
    default = "0" if mode == "enforce" else "observe"
    return LineFormat(
        before="    ",
        after=" 1;",
        opening=(f"geo $realip_remote_addr ${variable} {{", f"    default {default};"),
        closing=("}",),
        remarks=(
            f"Context: http. ${variable} is 1 for a peer of the edge; edge-allow.conf refuses the rest.",
            "Layer one of two: every customer of an edge shares its ranges (docs/origin-lockdown.md).",
        ),
    )


def build_nginx_allow(mode: str) -> LineFormat:
    """`allow` and `deny`, which see the address that realip put in place: only where there is no realip."""
    return LineFormat(
        before="allow ",
        after=";",
        closing=("deny all;",) if mode == "enforce" else (),
        remarks=(
            "Context: server or location WITHOUT set_real_ip_from (with it, every visitor gets 403)",
            "and WITHOUT auth_request under `satisfy any` (there a match skips the login).",
        ),
    )


def build_nginx_realip() -> LineFormat:
    """`set_real_ip_from` alone: a second `real_ip_header` in one context would stop nginx."""
    return LineFormat(
        before="set_real_ip_from ",
        after=";",
        remarks=("Context: http or server. nginx/edge-realip.conf names the header.",),
    )


PLAIN = LineFormat()
