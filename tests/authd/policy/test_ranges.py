"""Merged ranges hold exactly what their networks hold."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from authd.policy.ranges import create_ranges

# Few addresses, so that networks nest, touch and repeat.
networks = st.builds(
    lambda number, prefix: IPv4Network((number, prefix), strict=False), st.integers(0, 255), st.integers(24, 32)
)


@given(st.lists(networks, max_size=8), st.integers(0, 300))
def test_an_address_is_held_if_a_network_holds_it(given_networks: list[IPv4Network], number: int) -> None:
    expected = any(IPv4Address(number) in network for network in given_networks)
    assert create_ranges(given_networks).holds(number) == expected


@given(st.lists(networks, max_size=8))
def test_ranges_are_in_order_and_do_not_touch(given_networks: list[IPv4Network]) -> None:
    ranges = create_ranges(given_networks)
    assert all(first <= last for first, last in zip(ranges.firsts, ranges.lasts, strict=True))
    assert all(last + 1 < first for last, first in zip(ranges.lasts, ranges.firsts[1:], strict=False))


def test_the_largest_networks_have_both_ends() -> None:
    everything = create_ranges([IPv6Network("::/0")])
    assert everything.holds(0)
    assert everything.holds(int(IPv6Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")))
    assert not create_ranges([]).holds(0)
