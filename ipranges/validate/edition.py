"""From tokens to an edition: every token a public network of plausible width, or the whole is refused."""

from __future__ import annotations

from collections.abc import Sequence

from ipranges import intervals
from ipranges.errors import RefusedError
from ipranges.intervals import Interval, Intervals
from ipranges.model import Edition
from ipranges.networks import BITS, Family, build_network_set, parse_network, parse_network_set, quote
from ipranges.sources.provider import Limits

# IANA's special-purpose registries (RFC 6890 and its updates). `ipaddress.is_global` is no substitute:
# it looks at both ends only and calls 0.0.0.0/1 global.
_RESERVED_V4 = parse_network_set(
    (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    )
).v4
# Outside 2000::/3 nothing is assigned for the public internet; inside it: Teredo and ORCHID, the
# documentation prefixes, 6to4.
_GLOBAL_UNICAST_V6 = parse_network_set(("2000::/3",)).v6
_RESERVED_V6 = intervals.merge(
    intervals.subtract(((0, (1 << 128) - 1),), _GLOBAL_UNICAST_V6)
    + parse_network_set(("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")).v6
)
RESERVED: dict[Family, Intervals] = {"v4": _RESERVED_V4, "v6": _RESERVED_V6}


def verify_edition(
    tokens: Sequence[str],
    limits: Limits,
    *,
    url: str,
    fetched_at: int,
    version: str = "",
    serial: int | None = None,
) -> Edition:
    """An edition that may be judged; raises RefusedError that names the first token, or the figure.

    One bad token refuses the whole: a list that is wrong in one line is not the list. Repeated and
    overlapping networks are merged, which providers do publish (CloudFront's 46 are 45).
    NOT checked: how far it differs from the last edition.
    """
    if not tokens:
        raise RefusedError("the list is empty")
    if len(tokens) > limits.max_prefixes:
        raise RefusedError(f"the list has {len(tokens)} entries, more than {limits.max_prefixes}")
    parsed = [parse_network(token) for token in tokens]
    networks = build_network_set(parsed)
    if not limits.allow_private:
        _verify_public(tokens, parsed, networks.v4, networks.v6)
    _verify_width(tokens, parsed, limits)
    for family in limits.families:
        if not networks.get(family):
            raise RefusedError(f"the list has no IP{family} network, and must have some")
    if networks.address_count("v4") > limits.max_v4_addresses:
        covered = networks.address_count("v4")
        raise RefusedError(f"the list covers {covered} IPv4 addresses, more than {limits.max_v4_addresses}")
    return Edition(networks, fetched_at, url, version, serial)


def _verify_public(
    tokens: Sequence[str], parsed: Sequence[tuple[Family, Interval]], v4: Intervals, v6: Intervals
) -> None:
    # The sets tell quickly that all is well; only then is the culprit looked for.
    if not (intervals.intersect(v4, _RESERVED_V4) or intervals.intersect(v6, _RESERVED_V6)):
        return
    for token, (family, interval) in zip(tokens, parsed, strict=True):
        if intervals.intersect((interval,), RESERVED[family]):
            raise RefusedError(f"{quote(token)} is, or holds, private or reserved space")


def _verify_width(tokens: Sequence[str], parsed: Sequence[tuple[Family, Interval]], limits: Limits) -> None:
    widest = {"v4": limits.min_prefix_v4, "v6": limits.min_prefix_v6}
    spans = {family: (1 << (BITS[family] - widest[family])) for family in BITS}
    for token, (family, (first, last)) in zip(tokens, parsed, strict=True):
        if last - first >= spans[family]:
            raise RefusedError(f"{quote(token)} is wider than the /{widest[family]} that is allowed")
