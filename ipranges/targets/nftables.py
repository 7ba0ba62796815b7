"""An nftables table of its own, hooked before Docker's address translation.

Measured: on the input hook, published container ports stay open; at prerouting, before dstnat, one chain
covers host and containers, and `fib daddr type != local accept` leaves the containers' own outbound
connections alone. IPv4 and IPv6 are asked in one chain that ends in a drop, so an empty IPv6 set refuses.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ipranges.config import NftablesTarget
from ipranges.errors import RefusedError
from ipranges.intervals import Interval, Intervals, is_prefix, merge
from ipranges.networks import (
    BITS,
    FAMILIES,
    Family,
    NetworkSet,
    parse_network,
    render_address,
)

_ELEMENTS = re.compile(r"\n\t\telements = \{([^}]*)\}")
_SET_NAME = re.compile(r"\tset (v[46]) \{\n(?:\t\t[^\n]*\n)*?\t\telements = \{([^}]*)\}")
_TYPES = {"v4": "ipv4_addr", "v6": "ipv6_addr"}


def render_table(target: NftablesTarget, networks: NetworkSet) -> str:
    """The transaction that puts the whole table in place of whatever stands under its name.

    `add`, `delete` and the new table are one batch: a packet sees the old table or the new one. The sets
    need no auto-merge, since what is written is disjoint already (and loading is twice as fast).
    """
    ports = ", ".join(map(str, sorted(target.ports)))
    sets = "".join(_render_set(family, networks) for family in FAMILIES)
    return (
        f"add table inet {target.table}\n"
        f"delete table inet {target.table}\n"
        f"table inet {target.table} {{\n"
        f"{sets}"
        "\tchain pre {\n"
        "\t\ttype filter hook prerouting priority mangle; policy accept;\n"
        "\t\tct state established,related accept\n"
        '\t\tiifname "lo" accept\n'
        "\t\tfib daddr type != local accept\n"
        f"\t\tmeta l4proto {{ tcp, udp }} th dport {{ {ports} }} jump edge_only\n"
        "\t}\n"
        "\tchain edge_only {\n"
        "\t\tip saddr @v4 accept\n"
        "\t\tip6 saddr @v6 accept\n"
        f"{_render_verdict(target)}"
        "\t}\n"
        "}\n"
    )


def render_elements(table: str, networks: NetworkSet) -> str:
    """The transaction that replaces both sets' content and leaves the rules and their counters alone."""
    lines = []
    for family in FAMILIES:
        lines.append(f"flush set inet {table} {family}\n")
        # `add element ... { }` is a syntax error; an empty set is the flush alone.
        if networks.get(family):
            lines.append(f"add element inet {table} {family} {{ {_render_intervals(family, networks)} }}\n")
    return "".join(lines)


def parse_table(listing: str, expected: NetworkSet | None = None) -> tuple[NetworkSet, str]:
    """What `nft -s list table` printed: both sets, and the rest of the text (the table's shape).

    nft prints intervals just as they are written here, so a set that is the expected one is known by its
    text, which is quicker than to parse 100,000 of them. Raises RefusedError where an element is no
    interval of addresses.
    """
    pieces: dict[Family, Intervals] = {"v4": (), "v6": ()}
    for name, elements in _SET_NAME.findall(listing):
        if expected is not None and _is_print_of(elements, name, expected):
            pieces[name] = expected.get(name)
            continue
        tokens = [token.strip() for token in elements.split(",")]
        pieces[name] = merge(_parse_element(name, token) for token in tokens if token)
    return NetworkSet(pieces["v4"], pieces["v6"]), _ELEMENTS.sub("", listing)


def _is_print_of(elements: str, family: Family, networks: NetworkSet) -> bool:
    return " ".join(elements.split()) == _render_intervals(family, networks)


def _render_set(family: Family, networks: NetworkSet) -> str:
    elements = f"\t\telements = {{ {_render_intervals(family, networks)} }}\n" if networks.get(family) else ""
    return f"\tset {family} {{\n\t\ttype {_TYPES[family]}\n\t\tflags interval\n{elements}\t}}\n"


@lru_cache(maxsize=4)
def _render_intervals(family: Family, networks: NetworkSet) -> str:
    return ", ".join(_render_interval(family, interval) for interval in networks.get(family))


def _render_interval(family: Family, interval: Interval) -> str:
    """A prefix where the interval is one, else a range: adjoining prefixes would need auto-merge."""
    first, last = interval
    size = last - first + 1
    if size == 1:
        return render_address(family, first)
    if is_prefix(interval):
        return f"{render_address(family, first)}/{BITS[family] - size.bit_length() + 1}"
    return f"{render_address(family, first)}-{render_address(family, last)}"


def _render_verdict(target: NftablesTarget) -> str:
    if target.mode == "enforce":
        return "\t\tcounter drop\n"
    return '\t\tlimit rate 10/minute burst 5 packets log prefix "ipranges would drop: "\n\t\tcounter accept\n'


def _parse_element(name: str, token: str) -> Interval:
    first, dash, last = token.partition("-")
    family, (low, high) = parse_network(first)
    if dash:
        high = parse_network(last)[1][1]
    if family != name or low > high:
        raise RefusedError(f"the set {name} holds {token!r}")
    return low, high
