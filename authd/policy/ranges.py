"""Many networks as few sorted ranges of numbers, searched by halving."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from authd.config.fields import Network


@dataclass(frozen=True, slots=True)
class AddressRanges:
    """Ranges of one IP version that do not touch, in order, as numbers. Both ends belong to them."""

    firsts: tuple[int, ...]
    lasts: tuple[int, ...]

    def holds(self, address: int) -> bool:
        position = bisect_right(self.firsts, address) - 1
        return position >= 0 and address <= self.lasts[position]


def create_ranges(networks: Iterable[Network]) -> AddressRanges:
    """Networks of one IP version, merged."""
    merged: list[list[int]] = []
    for first, last in sorted((int(network[0]), int(network[-1])) for network in networks):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return AddressRanges(tuple(first for first, _ in merged), tuple(last for _, last in merged))
