"""Random sets of networks."""

from __future__ import annotations

from hypothesis import strategies as st

from ipranges import intervals
from ipranges.networks import NetworkSet


def small_intervals() -> st.SearchStrategy[intervals.Intervals]:
    """Minimal forms over a space small enough to enumerate."""
    pairs = st.tuples(st.integers(0, 120), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))
    return st.lists(pairs, max_size=12).map(intervals.merge)


def network_sets(*, min_size: int = 0) -> st.SearchStrategy[NetworkSet]:
    """Sets of both families, with single addresses, wide prefixes, neighbours and overlaps."""
    return st.builds(
        lambda v4, v6: NetworkSet(intervals.merge(v4), intervals.merge(v6)),
        st.lists(_prefix(32, 8), min_size=min_size, max_size=12),
        st.lists(_prefix(128, 20), max_size=12),
    )


def _prefix(bits: int, widest: int) -> st.SearchStrategy[intervals.Interval]:
    def build(address: int, length: int) -> intervals.Interval:
        span = (1 << (bits - length)) - 1
        first = address & ~span
        return first, first + span

    # IPv4-mapped addresses are no networks to us, in and out; the global space is where lists live.
    addresses = st.integers(0, 2**32 - 1) if bits == 32 else st.integers(2 << 124, (4 << 124) - 1)
    return st.builds(build, addresses, st.integers(widest, bits))
