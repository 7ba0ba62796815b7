"""Networks in text and as intervals: the ground on which every guard stands."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, collapse_addresses, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipranges import intervals
from ipranges.errors import MalformedNetworkError
from ipranges.networks import NetworkSet, parse_address, parse_network, parse_network_set, render_address
from tests.ipranges.strategies import network_sets, small_intervals


@pytest.mark.parametrize(
    "token",
    [
        *("", " ", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.0/024", "1.2.3.0/33", "1.2.3.4/24"),
        *("10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "1.2.3.0/", "1.2.3.0/-1", "1.2.3.0/24 ", "/24"),
        *("evil.example", "localhost", "1.1.1.0/24; allow all", "1.1.1.0/24\n", "131.0.72.0/222400:cb00::/32"),
        *("::ffff:1.2.3.4", "::ffff:102:304", "fe80::1%eth0", "2400:cb00::/129", "2400:cb00::1/32", ":::", "::/0/0"),
        *("١.٢.٣.٤", "1.2.3.٠/24", "0x7f.1.1.1", "1e3", "127.1"),
    ],
)
def test_anything_but_a_canonical_network_is_refused_by_name(token: str) -> None:
    with pytest.raises(MalformedNetworkError) as refusal:
        parse_network(token)
    assert ascii(token)[1:20].rstrip("'") in str(refusal.value)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("1.2.3.4", "1.2.3.4/32"),
        ("173.245.48.0/20", "173.245.48.0/20"),
        ("2400:CB00:0::/32", "2400:cb00::/32"),
        ("2001:41d0:605:ca00::1175:1", "2001:41d0:605:ca00::1175:1/128"),
    ],
)
def test_unambiguous_spellings_become_the_canonical_one(token: str, expected: str) -> None:
    assert parse_network_set([token]).all_cidrs == (expected,)


def test_a_long_or_wild_token_is_shown_short_and_harmless() -> None:
    with pytest.raises(MalformedNetworkError) as refusal:
        parse_network("\x1b[31m" + "x" * 5000)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 150


def test_one_address_is_told_from_a_network() -> None:
    assert parse_address("1.2.3.4") == ("v4", 0x01020304)
    with pytest.raises(MalformedNetworkError):
        parse_address("1.2.3.0/24")


@given(st.integers(0, 2**128 - 1))
def test_every_ipv6_address_is_rendered_so_that_it_reads_back(address: int) -> None:
    text = render_address("v6", address)
    assert "." not in text
    assert int(IPv6Address(text)) == address


@given(st.sampled_from([0, 1, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 0xFFFF_0102_0304]))
def test_addresses_that_libraries_print_with_dots_stay_hexadecimal(address: int) -> None:
    assert int(IPv6Address(render_address("v6", address))) == address


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 32)), max_size=40))
def test_merging_agrees_with_the_standard_library(pairs: list[tuple[int, int]]) -> None:
    networks = [IPv4Network((address >> (32 - length) << (32 - length), length)) for address, length in pairs]
    expected = tuple(str(network) for network in collapse_addresses(networks))
    assert parse_network_set(map(str, networks)).cidrs("v4") == expected


@given(network_sets(), st.randoms())
def test_order_repetition_and_halves_make_no_other_set(networks: NetworkSet, random: object) -> None:
    tokens = [half for cidr in networks.all_cidrs for half in _halves(cidr)] * 2
    random.shuffle(tokens)  # type: ignore[attr-defined]
    assert parse_network_set(tokens) == networks
    assert parse_network_set(tokens).sha256 == networks.sha256


@given(small_intervals(), small_intervals())
def test_union_difference_and_intersection_are_those_of_sets(left: object, right: object) -> None:
    a, b = _addresses(left), _addresses(right)
    assert _addresses(intervals.intersect(left, right)) == a & b  # type: ignore[arg-type]
    assert _addresses(intervals.subtract(left, right)) == a - b  # type: ignore[arg-type]
    assert _addresses(intervals.merge(left + right)) == a | b  # type: ignore[operator]


@given(network_sets(), network_sets())
def test_what_is_retained_and_what_is_added_make_up_the_new_coverage(old: NetworkSet, new: NetworkSet) -> None:
    for family in ("v4", "v6"):
        retained = (old & new).address_count(family)  # type: ignore[arg-type]
        added = (new - old).address_count(family)  # type: ignore[arg-type]
        assert new.address_count(family) == retained + added  # type: ignore[arg-type]


@given(small_intervals())
def test_the_minimal_form_is_disjoint_and_nothing_touches(pieces: tuple[tuple[int, int], ...]) -> None:
    assert all(left[1] + 1 < right[0] for left, right in pairwise(pieces))


def _halves(cidr: str) -> list[str]:
    network = ip_network(cidr)
    if network.prefixlen == network.max_prefixlen:
        return [cidr]
    return [str(half) for half in network.subnets()]


def _addresses(pieces: object) -> set[int]:
    return {n for first, last in pieces for n in range(first, last + 1)}  # type: ignore[attr-defined]
