"""Sets of addresses as sorted, disjoint, non-adjacent intervals of integers.

Everything that ipranges decides (coverage, growth, what to remove, is the firewall what it should be)
is decided on these and never on strings or on counts of lines: `10.0.0.0/24` and its two halves are the
same set, and one prefix may be a third of a provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]


def merge(pieces: Iterable[Interval]) -> Intervals:
    """The minimal form of any pieces, in any order, overlapping or touching. Both ends are inclusive."""
    ordered = sorted(pieces)
    if all(left[1] + 1 < right[0] for left, right in pairwise(ordered)):
        return tuple(ordered)
    merged: list[Interval] = []
    for first, last in ordered:
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def intersect(left: Intervals, right: Intervals) -> Intervals:
    """What both hold. Both arguments must be in minimal form, and so is the answer."""
    found: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            found.append((first, last))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def subtract(left: Intervals, right: Intervals) -> Intervals:
    """What `left` holds and `right` does not. Both arguments must be in minimal form."""
    if not left or left == right:
        return ()
    if not right:
        return left
    kept: list[Interval] = []
    start = 0
    for interval_first, last in left:
        first = interval_first
        while start < len(right) and right[start][1] < first:
            start += 1
        j = start
        while j < len(right) and right[j][0] <= last:
            if right[j][0] > first:
                kept.append((first, right[j][0] - 1))
            first = right[j][1] + 1
            j += 1
        if first <= last:
            kept.append((first, last))
    return tuple(kept)


def count(intervals: Intervals) -> int:
    """How many addresses."""
    return sum(last - first + 1 for first, last in intervals)


def contains(intervals: Intervals, address: int) -> bool:
    """Whether one address is in the set."""
    return bool(intersect(((address, address),), intervals))


def is_prefix(interval: Interval) -> bool:
    """Whether an interval is exactly one prefix."""
    size = interval[1] - interval[0] + 1
    return size & (size - 1) == 0 and interval[0] & (size - 1) == 0


def split_into_prefixes(interval: Interval, bits: int) -> Iterator[tuple[int, int]]:
    """The fewest (first address, prefix length) that cover an interval exactly, in order."""
    first, last = interval
    if is_prefix(interval):
        # Nearly always it is one prefix, and there may be 100,000 of them.
        yield first, bits - (last - first + 1).bit_length() + 1
        return
    while first <= last:
        aligned = (first & -first).bit_length() - 1 if first else bits
        fitting = (last - first + 1).bit_length() - 1
        width = min(aligned, fitting)
        yield first, bits - width
        first += 1 << width
