"""What each target's file looks like, and that what is written reads back as the same set."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given
from pydantic import TypeAdapter

from ipranges.config import NftablesTarget, UfwTarget
from ipranges.config.targets import TargetConfig
from ipranges.errors import ApplyError, RefusedError
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.targets import FileFormat, build_file_format
from ipranges.targets.haproxy import parse_acl, parse_version, render_additions
from ipranges.targets.ipset import parse_ipset, render_ipset
from ipranges.targets.marker import verify_ours
from ipranges.targets.nftables import parse_table, render_elements, render_table
from ipranges.targets.ufw import comment_of, find_rules_to_delete, parse_rules, render_rules
from tests.ipranges.strategies import network_sets

SMALL = parse_network_set(["173.245.48.0/20", "103.21.244.0/22", "192.0.2.10", "2400:cb00::/32"])
FIREWALL = NftablesTarget(type="nftables", ports=(443,), sources=("a",))
UFW = UfwTarget(type="ufw", ports=(80, 443), sources=("a",))
FILE_TYPES = ["nginx-geo", "nginx-allow", "nginx-realip", "haproxy", "caddy", "text", "json"]


def build(kind: str, **more: Any) -> FileFormat:
    target = {"type": kind, "path": "/etc/edge/list", "sources": ("a",), **more}
    return build_file_format(TypeAdapter(TargetConfig).validate_python(target))


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_a_rendered_file_reads_back_as_the_same_set(kind: str) -> None:
    file_format = build(kind)

    @given(network_sets())
    def property_holds(networks: NetworkSet) -> None:
        assert file_format.parse(file_format.render("x", networks)) == networks

    property_holds()


@given(network_sets())
def test_a_rendered_table_reads_back_as_the_same_set(networks: NetworkSet) -> None:
    assert parse_table(render_table(FIREWALL, networks))[0] == networks


@given(network_sets(), network_sets())
def test_the_hint_of_what_is_expected_never_changes_what_is_read(networks: NetworkSet, hint: NetworkSet) -> None:
    table = render_table(FIREWALL, networks)
    assert parse_table(table, hint) == parse_table(table)
    assert parse_table(table, networks)[0] == networks


@given(network_sets())
def test_rendered_ipsets_read_back_as_the_same_set(networks: NetworkSet) -> None:
    lines = [line.replace("_new", "") for line in render_ipset("edge", networks).splitlines() if "add" in line]
    assert parse_ipset("edge", "\n".join(lines)) == networks


@given(network_sets())
def test_rendered_ufw_rules_read_back_as_the_same_set(networks: NetworkSet) -> None:
    lines = []
    for rule in render_rules(UFW, networks.all_cidrs):
        words = list(rule)
        words[-1] = f"'{words[-1]}'"
        lines.append("ufw " + " ".join(words))
    rules = parse_rules(UFW, "\n".join(lines))
    assert rules.any == rules.whole
    assert parse_network_set(rules.whole) == networks


@given(network_sets())
def test_additions_at_haproxys_socket_name_every_network_once(networks: NetworkSet) -> None:
    text = "; ".join(render_additions("/etc/edge/list", "3", networks))
    tokens = [command.split()[-1] for command in text.split("; ") if command]
    assert parse_network_set(tokens) == networks
    assert parse_acl("\n".join(f"0x55d0 {token}" for token in tokens)) == networks


def test_geo_asks_about_the_peer_and_refuses_by_default() -> None:
    text = build("nginx-geo").render("edge", SMALL)
    body = [line for line in text.splitlines() if not line.startswith("#")]
    assert body == [
        "geo $realip_remote_addr $edge_ok {",
        "    default 0;",
        "    103.21.244.0/22 1;",
        "    173.245.48.0/20 1;",
        "    192.0.2.10/32 1;",
        "    2400:cb00::/32 1;",
        "}",
    ]


def test_observing_refuses_nobody() -> None:
    assert "default observe;" in build("nginx-geo", mode="observe").render("edge", SMALL)
    assert "deny all;" not in build("nginx-allow", mode="observe").render("edge", SMALL)
    observing = render_table(FIREWALL.model_copy(update={"mode": "observe"}), SMALL)
    assert "drop" not in observing.replace("would drop", "")


def test_the_other_files_are_what_their_programs_read() -> None:
    realip = build("nginx-realip").render("edge", SMALL)
    assert "set_real_ip_from 103.21.244.0/22;\n" in realip
    assert "real_ip_header" not in [line.split()[0] for line in realip.splitlines() if line[0] != "#"]
    assert build("nginx-allow").render("edge", SMALL).endswith("allow 2400:cb00::/32;\ndeny all;\n")
    assert "\t@edge_only_refused not remote_ip 103.21.244.0/22 " in build("caddy").render("edge", SMALL)
    assert '"ipv6": [\n  "2400:cb00::/32"\n ]' in build("json").render("edge", SMALL)
    lines = build("text").render("edge", SMALL).splitlines()
    assert lines[2:] == ["103.21.244.0/22", "173.245.48.0/20", "192.0.2.10/32", "2400:cb00::/32"]


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_every_file_carries_our_mark_and_no_time(kind: str) -> None:
    text = build(kind).render("edge", SMALL)
    verify_ours(text.encode(), "/etc/edge/list")
    assert SMALL.sha256 in text
    assert "202" not in text.replace(SMALL.sha256, "")


def test_a_file_of_somebody_else_is_not_ours_and_an_empty_one_may_be_filled() -> None:
    verify_ours(None, "/x")
    verify_ours(b"\n", "/x")
    with pytest.raises(ApplyError, match="is not a file that ipranges wrote"):
        verify_ours(b"set_real_ip_from 1.2.3.4;\n", "/x")


@pytest.mark.parametrize("kind", FILE_TYPES)
@pytest.mark.parametrize("extra", ["0.0.0.0/0; allow all;\n", "evil.example\n", "include /etc/passwd;\n", "x"])
def test_a_file_that_somebody_touched_is_not_read_as_a_set(kind: str, extra: str) -> None:
    file_format = build(kind)
    with pytest.raises(RefusedError):
        file_format.parse(file_format.render("edge", SMALL) + extra)


def test_the_ruleset_is_the_verified_one() -> None:
    table = render_table(FIREWALL.model_copy(update={"ports": (443, 80)}), SMALL)
    order = [
        *("add table inet ipranges\n", "delete table inet ipranges\n", "hook prerouting priority mangle"),
        *("ct state established,related accept", 'iifname "lo" accept', "fib daddr type != local accept"),
        *("meta l4proto { tcp, udp } th dport { 80, 443 } jump edge_only", "ip saddr @v4 accept"),
        *("ip6 saddr @v6 accept", "counter drop"),
    ]
    places = [table.index(part) for part in order]
    assert places == sorted(places)


def test_an_empty_family_is_an_empty_set_and_no_syntax_error() -> None:
    only_v4 = parse_network_set(["1.2.3.0/24"])
    assert "{  }" not in render_table(FIREWALL, only_v4)
    assert render_elements("t", only_v4) == (
        "flush set inet t v4\nadd element inet t v4 { 1.2.3.0/24 }\nflush set inet t v6\n"
    )


def test_no_set_of_an_ipset_is_touched_before_both_new_ones_are_full() -> None:
    lines = render_ipset("edge", SMALL, frozenset({"edge-v4", "edge-v6", "edge-v6_new"})).splitlines()
    swaps = [number for number, line in enumerate(lines) if line.startswith("swap")]
    adds = [number for number, line in enumerate(lines) if line.startswith("add")]
    assert max(adds) < min(swaps)
    leftover = lines.index("destroy edge-v6_new")
    assert lines[leftover + 1].startswith("create edge-v6_new ")
    assert all(lines[number].split()[1].endswith("_new") for number in adds)


def test_only_our_own_ufw_rules_are_ever_deleted() -> None:
    added = (
        "ufw allow 22/tcp\n"
        "ufw allow from 1.2.3.0/24 to any port 80,443 proto tcp comment 'theirs'\n"
        f"ufw allow from 9.0.0.0/24 to any port 80,443 proto tcp comment '{comment_of(UFW)}'\n"
        f"ufw allow from 8.0.0.0/24 to any port 80,443 proto udp comment '{comment_of(UFW)}'\n"
    )
    assert [rule[2] for rule in find_rules_to_delete(UFW, added, frozenset({"8.0.0.0/24"}))] == ["9.0.0.0/24"]
    assert parse_rules(UFW, added).whole == frozenset()


def test_an_answer_of_haproxy_that_is_none_is_refused() -> None:
    assert parse_version("New version created: 12\n\n") == "12"
    with pytest.raises(RefusedError):
        parse_version("Unknown ACL identifier. Please use #<id> or <file>.\n")
    with pytest.raises(RefusedError):
        parse_acl("Unknown ACL identifier.\n")


def test_no_time_of_day_and_no_shell_is_anywhere() -> None:
    """No target is ever changed through a shell: a list of arguments cannot be cut by what stands in it."""
    found = subprocess.run(
        ["grep", "-rnE", r"shell=True|os\.system|eval\(", "ipranges"], capture_output=True, text=True
    )
    assert found.stdout == ""
