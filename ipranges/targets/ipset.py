"""Two ipsets for rules of the operator's own, filled beside the live ones and swapped in."""

from __future__ import annotations

from ipranges.errors import RefusedError
from ipranges.networks import FAMILIES, Family, NetworkSet, parse_network_set

_FAMILY_WORDS: dict[Family, str] = {"v4": "inet", "v6": "inet6"}
DEFAULT_MAX_ELEMENTS = 65_536


def render_ipset(set_name: str, networks: NetworkSet, existing: frozenset[str] = frozenset()) -> str:
    """Input for `ipset restore`: fill new sets, swap, drop the old content. `existing` are the sets there.

    `restore` is not atomic (an error in the middle leaves what came before), a swap is: so nothing live is
    touched until both new sets are full.
    """
    lines = []
    for family in FAMILIES:
        live, new = f"{set_name}-{family}", f"{set_name}-{family}_new"
        size = max(DEFAULT_MAX_ELEMENTS, 2 * len(networks.cidrs(family)))
        kind = f"hash:net family {_FAMILY_WORDS[family]} maxelem"
        # What a killed run left half full is begun anew; the live set is made once, for the first swap.
        lines += [f"destroy {new}"] if new in existing else []
        lines += [f"create {live} {kind} {size}"] if live not in existing else []
        lines += [f"create {new} {kind} {size}"]
        lines += [f"add {new} {cidr}" for cidr in networks.cidrs(family)]
    lines += [f"swap {set_name}-{family} {set_name}-{family}_new" for family in FAMILIES]
    lines += [f"destroy {set_name}-{family}_new" for family in FAMILIES]
    return "".join(f"{line}\n" for line in lines)


def parse_ipset(set_name: str, saved: str) -> NetworkSet:
    """What `ipset save` printed of both sets; raises RefusedError for a line of another set."""
    tokens = []
    for line in saved.splitlines():
        word, _, rest = line.partition(" ")
        name, _, entry = rest.partition(" ")
        if name not in (f"{set_name}-v4", f"{set_name}-v6"):
            raise RefusedError(f"ipset printed a set that was not asked for: {name!r}")
        if word == "add":
            tokens.append(entry)
    return parse_network_set(tokens)
