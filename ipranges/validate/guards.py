"""The guards: how far an edition may differ from the last one without a person looking at it.

They look at addresses, never at lines: CloudFront went from 8 IPv6 prefixes to 3 and grew by 120 %;
one prefix of Cloudflare's is a third of its space.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipranges.networks import FAMILIES, Family, NetworkSet


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Shares of the last accepted edition's addresses."""

    min_retained: float = 0.75
    max_growth_v4: float = 0.5
    max_growth_v6: float = 3.0


@dataclass(frozen=True, slots=True)
class Objection:
    """Why an edition is held. `reason` is a word for metrics, `figures` the sentence for a person."""

    reason: str
    figures: str


def find_objection(old: NetworkSet, new: NetworkSet, limits: GuardLimits) -> Objection | None:
    """The first guard that `new` does not pass after `old`, or None."""
    for family in FAMILIES:
        before, after = old.address_count(family), new.address_count(family)
        if before and not after:
            return Objection("family_vanished", f"all {before} IP{family} addresses are gone")
        if after and not before:
            return Objection("family_new", f"IP{family} appears, with {after} addresses")
        objection = _compare(family, old, new, limits) if before else None
        if objection:
            return objection
    return None


def _compare(family: Family, old: NetworkSet, new: NetworkSet, limits: GuardLimits) -> Objection | None:
    before = old.address_count(family)
    retained = (old & new).address_count(family) / before
    growth = (new - old).address_count(family) / before
    if retained < limits.min_retained:
        return Objection(
            "shrunk", f"IP{family} retains {retained:.3f} of its addresses, less than {limits.min_retained:g}"
        )
    allowed = limits.max_growth_v4 if family == "v4" else limits.max_growth_v6
    if growth > allowed:
        return Objection("grown", f"IP{family} grows by {growth:.3f} of its addresses, more than {allowed:g}")
    return None
