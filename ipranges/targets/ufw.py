"""Rules of ufw, one a network and protocol, told from the operator's own by their comment.

`ufw status` is for eyes; `ufw show added` prints each rule as the command that added it, which is what is
read back. There is no transaction: rules are added first and removed last, so the edge is never locked out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ipranges.config import UfwTarget

_PROTOCOLS = ("tcp", "udp")
_RULE = re.compile(
    r"ufw allow from (?P<source>\S+) to any port (?P<ports>[0-9,]+) proto (?P<protocol>tcp|udp)"
    r" comment '(?P<comment>[^']*)'"
)


def render_rules(target: UfwTarget, cidrs: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The arguments of `ufw` for each rule, after the verb: `allow from ... comment ...`."""
    ports = ",".join(map(str, sorted(target.ports)))
    return [
        ("allow", "from", cidr, "to", "any", "port", ports, "proto", protocol, "comment", comment_of(target))
        for cidr in cidrs
        for protocol in _PROTOCOLS
    ]


def comment_of(target: UfwTarget) -> str:
    """The mark of our own rules."""
    return f"ipranges {target.label}"


@dataclass(frozen=True, slots=True)
class UfwRules:
    """Our rules as ufw prints them. `whole` have a rule for each protocol, `any` at least one."""

    whole: frozenset[str]
    any: frozenset[str]


def parse_rules(target: UfwTarget, added: str) -> UfwRules:
    """What `ufw show added` lists under our comment; rules for other ports of ours count as half."""
    ports = ",".join(map(str, sorted(target.ports)))
    ours = [match for match in _RULE.finditer(added) if match["comment"] == comment_of(target)]
    seen = {
        protocol: {m["source"] for m in ours if m["protocol"] == protocol and m["ports"] == ports}
        for protocol in _PROTOCOLS
    }
    return UfwRules(frozenset(seen["tcp"] & seen["udp"]), frozenset(match["source"] for match in ours))


def find_rules_to_delete(target: UfwTarget, added: str, keep: frozenset[str]) -> list[tuple[str, ...]]:
    """The full text of each rule of ours whose source is not in `keep`, as arguments of `ufw delete`."""
    return [
        ("allow", "from", m["source"], "to", "any", "port", m["ports"], "proto", m["protocol"])
        for m in _RULE.finditer(added)
        if m["comment"] == comment_of(target) and m["source"] not in keep
    ]
