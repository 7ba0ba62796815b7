"""Networks in text, and the set of networks of both families that is passed around everywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Literal

from ipranges import intervals
from ipranges.errors import MalformedNetworkError
from ipranges.intervals import Interval, Intervals

Family = Literal["v4", "v6"]
FAMILIES: tuple[Family, ...] = ("v4", "v6")
BITS: dict[Family, int] = {"v4": 32, "v6": 128}

# `ipaddress` takes netmasks, hostmasks ("10.0.0.0/0.255.255.255"), "/024" and digits of other scripts.
# None of those is a way in which a provider writes a network, so the form is checked before the value.
_TOKEN = re.compile(r"[0-9A-Fa-f:.]{2,39}(?:/(?:0|[1-9][0-9]{0,2}))?", re.ASCII)
_V4_MAPPED = (0xFFFF << 32, (0xFFFF << 32) + 0xFFFFFFFF)


def quote(token: str) -> str:
    """A token of somebody else's as it may stand in a message: bounded, and without control characters."""
    shown = token if len(token) <= 60 else token[:57] + "..."
    return ascii(shown)


def parse_network(token: str) -> tuple[Family, Interval]:
    """One address or CIDR in canonical notation; raises MalformedNetworkError that names it.

    IPv6 may be upper case or uncompressed, which is unambiguous. Refused are: host bits, masks, leading
    zeros, zones, IPv4 inside IPv6. NOT checked: whether the space is public or the prefix is too wide.
    """
    if not _TOKEN.fullmatch(token):
        raise MalformedNetworkError(f"{quote(token)} is not an address or a CIDR")
    address, slash, length = token.partition("/")
    family: Family = "v6" if ":" in address else "v4"
    if family == "v6" and "." in address:
        raise MalformedNetworkError(f"{quote(token)} writes IPv4 inside IPv6")
    try:
        first = int.from_bytes(inet_pton(AF_INET6 if family == "v6" else AF_INET, address), "big")
    except OSError:
        raise MalformedNetworkError(f"{quote(token)} is not an address or a CIDR") from None
    prefix_length = int(length) if slash else BITS[family]
    if prefix_length > BITS[family]:
        raise MalformedNetworkError(f"{quote(token)} has a prefix longer than {BITS[family]}")
    span = (1 << (BITS[family] - prefix_length)) - 1
    if first & span:
        raise MalformedNetworkError(f"{quote(token)} has host bits set")
    if family == "v6" and _V4_MAPPED[0] <= first <= _V4_MAPPED[1]:
        raise MalformedNetworkError(f"{quote(token)} is an IPv4-mapped IPv6 network")
    return family, (first, first + span)


def parse_address(text: str) -> tuple[Family, int]:
    """One address; raises MalformedNetworkError."""
    family, (first, last) = parse_network(text)
    if first != last:
        raise MalformedNetworkError(f"{quote(text)} is a network, not one address")
    return family, first


def render_address(family: Family, address: int) -> str:
    """The canonical text (RFC 5952 for IPv6), hexadecimal throughout: nothing here prints IPv4 in IPv6."""
    if family == "v4":
        return inet_ntop(AF_INET, address.to_bytes(4, "big"))
    text = inet_ntop(AF_INET6, address.to_bytes(16, "big"))
    if "." not in text:
        return text
    head = "::ffff:" if address >> 32 else "::"
    return f"{head}{address >> 16 & 0xFFFF:x}:{address & 0xFFFF:x}"


def render_prefixes(family: Family, pieces: Intervals) -> Iterator[str]:
    """The fewest CIDRs that cover `pieces` exactly, in address order, always with a prefix length."""
    bits = BITS[family]
    for interval in pieces:
        for first, length in intervals.split_into_prefixes(interval, bits):
            yield f"{render_address(family, first)}/{length}"


@dataclass(frozen=True)
class NetworkSet:
    """A set of addresses of both families, in minimal form: equal however it was written."""

    v4: Intervals = ()
    v6: Intervals = ()

    def __or__(self, other: NetworkSet) -> NetworkSet:
        if not self or not other:
            return self or other
        return NetworkSet(intervals.merge(self.v4 + other.v4), intervals.merge(self.v6 + other.v6))

    def __and__(self, other: NetworkSet) -> NetworkSet:
        return NetworkSet(intervals.intersect(self.v4, other.v4), intervals.intersect(self.v6, other.v6))

    def __sub__(self, other: NetworkSet) -> NetworkSet:
        return NetworkSet(intervals.subtract(self.v4, other.v4), intervals.subtract(self.v6, other.v6))

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def get(self, family: Family) -> Intervals:
        """The intervals of one family."""
        return self.v4 if family == "v4" else self.v6

    def address_count(self, family: Family) -> int:
        """How many addresses of one family."""
        return intervals.count(self.get(family))

    def contains(self, family: Family, address: int) -> bool:
        """Whether one address is in the set."""
        return intervals.contains(self.get(family), address)

    def cidrs(self, family: Family) -> tuple[str, ...]:
        """The fewest CIDRs of one family, canonical, in address order."""
        return self._cidrs[family]

    @property
    def all_cidrs(self) -> tuple[str, ...]:
        """IPv4 first, then IPv6."""
        return self.cidrs("v4") + self.cidrs("v6")

    @cached_property
    def _cidrs(self) -> dict[Family, tuple[str, ...]]:
        return {family: tuple(render_prefixes(family, self.get(family))) for family in FAMILIES}

    @cached_property
    def sha256(self) -> str:
        """The set's identity: the digest of its canonical CIDRs, one a line."""
        return hashlib.sha256("".join(f"{cidr}\n" for cidr in self.all_cidrs).encode()).hexdigest()


def build_network_set(networks: Iterable[tuple[Family, Interval]]) -> NetworkSet:
    """A set from parsed networks; overlapping and repeated ones are merged."""
    pieces: dict[Family, list[Interval]] = {"v4": [], "v6": []}
    for family, interval in networks:
        pieces[family].append(interval)
    return NetworkSet(intervals.merge(pieces["v4"]), intervals.merge(pieces["v6"]))


def parse_network_set(tokens: Iterable[str]) -> NetworkSet:
    """A set from text; raises MalformedNetworkError that names the first token that is none.

    NOT checked: reserved space and width; that is `validate`'s part for what comes from outside.
    """
    return build_network_set(map(parse_network, tokens))
