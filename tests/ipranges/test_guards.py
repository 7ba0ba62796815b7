"""The guards, calibrated on what providers really did, and the way of a range out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipranges.errors import NotAllowedError, RefusedError
from ipranges.model import Edition, SourceMemory, SourceOutcome
from ipranges.networks import parse_network_set
from ipranges.sources import CATALOG
from ipranges.sources.provider import Limits
from ipranges.validate import Policy, approve_candidate, judge_edition, judge_failure, verify_edition
from ipranges.validate.guards import GuardLimits, find_objection
from tests.ipranges.edge_server import read_sample
from tests.ipranges.world import DAY, HOUR

A, B, C = "1.2.3.0/24", "1.2.5.0/24", "9.0.0.0/24"
POLICY = Policy()


def edition(*cidrs: str, at: int = 0, serial: int | None = None) -> Edition:
    return Edition(parse_network_set(cidrs), at, "https://list.example/", serial=serial)


def remembered(*cidrs: str, serial: int | None = None) -> SourceMemory:
    return SourceMemory("s", current=edition(*cidrs, serial=serial))


def provider_set(provider: str, *samples: str) -> Edition:
    said = CATALOG[provider].attempts[0].parse([read_sample(sample) for sample in samples])
    return verify_edition(said.tokens, CATALOG[provider].limits, url="", fetched_at=0)


@pytest.mark.parametrize(
    ("provider", "before", "after", "word"),
    [
        ("cloudflare", ["cloudflare-api-before-2021-04.json"], ["cloudflare-api.json"], None),
        ("cloudfront", ["cloudfront-2025-07-cut.json"], ["cloudfront-cut.json"], None),
        ("akamai", ["akamai-v4-before-2024-10-cut.txt", "akamai-v6.txt"], ["akamai-v4.txt", "akamai-v6.txt"], "shrunk"),
        ("akamai", ["akamai-v4.txt", "akamai-v6.txt"], ["akamai-v4-before-2024-10-cut.txt", "akamai-v6.txt"], "grown"),
    ],
)
def test_changes_that_providers_made(provider: str, before: list[str], after: list[str], word: str | None) -> None:
    old, new = provider_set(provider, *before), provider_set(provider, *after)
    objection = find_objection(old.networks, new.networks, GuardLimits())
    assert (objection.reason if objection else None) == word


def test_the_figures_of_the_change_of_2021_are_the_measured_ones() -> None:
    old = provider_set("cloudflare", "cloudflare-api-before-2021-04.json").networks
    new = provider_set("cloudflare", "cloudflare-api.json").networks
    assert round((old & new).address_count("v4") / old.address_count("v4"), 3) == 0.853
    objection = find_objection(old, new, GuardLimits(min_retained=0.9))
    assert objection is not None
    assert "retains 0.853 of its addresses, less than 0.9" in objection.figures


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (["1.0.0.0/24", "1.0.1.0/24"], ["5.0.0.0/24", "5.0.1.0/24"], "shrunk"),
        (["1.0.0.0/22"], ["1.0.0.0/23"], "shrunk"),
        (["1.0.0.0/22"], ["1.0.0.0/24", "1.0.1.0/24", "1.0.2.0/24"], None),
        (["1.0.0.0/22"], ["1.0.0.0/22", "2.0.0.0/23"], None),
        (["1.0.0.0/22"], ["1.0.0.0/22", "2.0.0.0/22"], "grown"),
        (["1.0.0.0/22", "2400::/32"], ["1.0.0.0/22"], "family_vanished"),
        (["1.0.0.0/22"], ["1.0.0.0/22", "2400::/32"], "family_new"),
        (["2400::/32"], ["2400::/30"], None),
        (["2400::/32"], ["2400::/29"], "grown"),
    ],
)
def test_a_guard_counts_addresses_and_never_lines(old: list[str], new: list[str], word: str | None) -> None:
    objection = find_objection(parse_network_set(old), parse_network_set(new), GuardLimits())
    assert (objection.reason if objection else None) == word


@pytest.mark.parametrize(
    "token",
    [
        *("0.0.0.0/0", "0.0.0.0/1", "8.0.0.0/5", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.1", "169.254.0.0/16"),
        *("192.168.0.0/16", "172.16.0.0/12", "172.31.255.0/24", "224.0.0.0/4", "255.255.255.255", "198.18.0.0/15"),
        *("192.0.2.1", "::/0", "2000::/3", "fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32", "2002::/16", "::1"),
        *("2a00::/12", "64:ff9b::/96", "11.0.0.0/7"),
    ],
)
def test_space_that_no_edge_has_refuses_the_whole_list(token: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        verify_edition([A, token, B], Limits(), url="", fetched_at=0)
    assert token in str(refusal.value)


def test_a_private_fleet_may_be_private_but_never_the_world() -> None:
    limits = Limits(allow_private=True)
    assert verify_edition(["10.1.0.0/16"], limits, url="", fetched_at=0).networks
    with pytest.raises(RefusedError, match="wider than the /8"):
        verify_edition(["10.0.0.0/7"], limits, url="", fetched_at=0)


def test_many_narrow_prefixes_that_are_the_world_together_are_refused() -> None:
    with pytest.raises(RefusedError, match="more than 134217728"):
        verify_edition([f"{n}.0.0.0/8" for n in range(11, 30)], Limits(), url="", fetched_at=0)
    with pytest.raises(RefusedError, match="more than 5"):
        verify_edition([A] * 6, Limits(max_prefixes=5), url="", fetched_at=0)
    with pytest.raises(RefusedError, match="list is empty"):
        verify_edition([], Limits(), url="", fetched_at=0)


@pytest.mark.parametrize(("tokens", "word"), [(["2400:cb00::/32"], "IPv4"), ([A], "IPv6")])
def test_a_family_that_a_provider_always_had_must_be_there(tokens: list[str], word: str) -> None:
    with pytest.raises(RefusedError, match=f"no {word} network"):
        verify_edition(tokens, CATALOG["cloudflare"].limits, url="", fetched_at=0)


def test_a_range_that_left_stays_for_three_sightings_and_a_day() -> None:
    memory = remembered(A, B, "1.2.6.0/23", "1.2.8.0/21")
    new = edition(A, "1.2.6.0/23", "1.2.8.0/21")
    for number, now in enumerate((0, 6 * HOUR, 12 * HOUR, 18 * HOUR), start=1):
        memory = judge_edition(memory, new, None, POLICY, now=now).memory
        assert memory.leaving[0].sightings == number
        assert B in memory.installed.all_cidrs or memory.installed.contains("v4", 0x01020500)
    memory = judge_edition(memory, new, None, POLICY, now=24 * HOUR).memory
    assert memory.leaving == ()
    assert not memory.installed.contains("v4", 0x01020500)


def test_a_range_leaves_after_seven_days_even_if_the_source_is_down() -> None:
    memory = judge_edition(remembered("1.2.0.0/16", B), edition("1.2.0.0/16"), None, POLICY, now=0).memory
    memory = judge_edition(remembered("1.0.0.0/16", C), edition("1.0.0.0/16"), None, POLICY, now=0).memory
    assert judge_failure(memory, POLICY, now=7 * DAY - 1).leaving
    assert judge_failure(memory, POLICY, now=7 * DAY).leaving == ()


def test_a_range_that_comes_back_never_left() -> None:
    memory = remembered("1.0.0.0/16", C)
    for now in range(10):
        cidrs = ["1.0.0.0/16", C] if now % 2 else ["1.0.0.0/16"]
        judged = judge_edition(memory, edition(*cidrs), None, POLICY, now=now * HOUR)
        memory = judged.memory
        assert memory.installed == parse_network_set(["1.0.0.0/16", C])


def test_a_clock_that_was_set_back_starts_the_wait_again_and_ends_it() -> None:
    memory = judge_edition(remembered("1.0.0.0/16", C), edition("1.0.0.0/16"), None, POLICY, now=400 * DAY).memory
    memory = judge_failure(memory, POLICY, now=30 * DAY)
    assert memory.leaving[0].since == 30 * DAY
    assert judge_failure(memory, POLICY, now=37 * DAY).leaving == ()


def test_an_older_edition_is_ignored() -> None:
    memory = remembered(A, serial=100)
    judged = judge_edition(memory, edition(A, B, serial=99), None, POLICY, now=1)
    assert (judged.outcome, judged.memory.current) == (SourceOutcome.OLDER, memory.current)
    assert "serial 99, older than 100" in judged.message


def test_a_held_edition_is_kept_and_approved_by_its_digest_only() -> None:
    judged = judge_edition(remembered(A), edition(C), None, POLICY, now=5)
    held = judged.memory
    assert judged.outcome is SourceOutcome.HELD
    assert held.installed == parse_network_set([A])
    digest = edition(C).sha256
    for wrong in ("", digest[:11], "0" * 64, edition(A).sha256):
        with pytest.raises(NotAllowedError):
            approve_candidate(held, wrong, POLICY, now=6)
    accepted = approve_candidate(held, digest[:16], POLICY, now=6)
    assert accepted.current is not None
    assert accepted.current.networks == parse_network_set([C])
    assert accepted.installed == parse_network_set([A, C])
    assert accepted.candidate is None


def test_a_candidate_is_accepted_by_itself_only_where_that_was_asked_for() -> None:
    policy = Policy(auto_approve_sightings=3, auto_approve_seconds=2 * HOUR)
    memory, outcomes = remembered(A), []
    for now in (0, HOUR, 2 * HOUR):
        judged = judge_edition(memory, edition(C), None, policy, now=now)
        memory = judged.memory
        outcomes.append(judged.outcome)
    assert outcomes == [SourceOutcome.HELD, SourceOutcome.HELD, SourceOutcome.CHANGED]
    flapping = judge_edition(remembered(A), edition(C), None, policy, now=0).memory
    flapping = judge_edition(flapping, edition("8.8.8.0/24"), None, policy, now=3 * HOUR).memory
    assert flapping.candidate is not None
    assert flapping.candidate.sightings == 1


def test_an_edition_that_was_rolled_back_is_held_although_no_guard_minds() -> None:
    memory = replace(remembered(A), refused_sha256=(edition(A, "1.2.4.0/26").sha256,))
    judged = judge_edition(memory, edition(A, "1.2.4.0/26"), None, POLICY, now=0)
    assert judged.outcome is SourceOutcome.HELD
    assert "rolled back" in judged.message
