"""Ending what stands: a rule change alone cuts nobody off who is connected already."""

from __future__ import annotations

from ipranges.config import NftablesTarget
from ipranges.errors import ApplyError
from ipranges.install.commands import run_command
from ipranges.networks import FAMILIES, Family, NetworkSet

_FAMILY_WORDS: dict[Family, str] = {"v4": "ipv4", "v6": "ipv6"}


def end_connections(target: NftablesTarget, removed: NetworkSet) -> str:
    """End the connections of removed ranges to the managed ports; a remark where that was not possible."""
    if not target.flush_connections or not removed:
        return ""
    try:
        run_command(("conntrack", "--version"))
    except ApplyError as error:
        return f"standing connections go on: {error}"
    for family in FAMILIES:
        for cidr in removed.cidrs(family):
            for port in target.ports:
                _delete(family, cidr, port)
    return ""


def _delete(family: Family, cidr: str, port: int) -> None:
    for protocol in ("tcp", "udp"):
        words = ("conntrack", "-D", "-f", _FAMILY_WORDS[family], "-s", cidr, "-p", protocol, "--dport", str(port))
        try:
            run_command(words)
        except ApplyError:
            # conntrack fails where nothing matched, which is as good.
            continue
