"""The configuration file: what it accepts, and what it says of every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipranges.config import NftablesTarget, NginxTarget, load_config, parse_config
from ipranges.errors import ConfigError, ConfigMistake

FROM_THE_DOCUMENTATION = """\
state_dir: /var/lib/ipranges
metrics: /var/lib/node_exporter/textfile_collector/ipranges.prom
always_allow: [192.0.2.10]                      # admin, health checks
sources:
  - name: cloudflare                            # built in
  - name: fleet
    type: url
    url: https://config.example.com/edges.json
    json: edges[].cidr
targets:
  - {type: nginx-geo, path: /etc/nginx/edge/edge.conf, sources: [cloudflare, fleet], reload: [systemctl, reload, nginx]}
  - {type: nftables, table: ipranges, ports: [443], sources: [cloudflare]}
"""


def mistakes_of(text: str) -> tuple[ConfigMistake, ...]:
    with pytest.raises(ConfigError) as error:
        parse_config(text, source="ipranges.yml")
    return error.value.mistakes


def keys_of(text: str) -> list[tuple[int, str]]:
    return [(mistake.line, mistake.key) for mistake in mistakes_of(text)]


def with_source(source: str) -> str:
    return f"sources:\n  - {source}\ntargets:\n  - {{type: text, path: /x, sources: [a]}}\n"


def test_the_documented_example_is_accepted() -> None:
    config = parse_config(FROM_THE_DOCUMENTATION, source="ipranges.yml")
    geo, firewall = config.targets
    assert config.sources[0].type == "cloudflare"
    assert config.sources[1].json_paths == ("edges[].cidr",)
    assert isinstance(geo, NginxTarget)
    assert geo.reload == ("systemctl", "reload", "nginx")
    assert isinstance(firewall, NftablesTarget)
    assert firewall.ports == (443,)


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    text = """\
state_dir: var/lib
always_alow: [192.0.2.10]
sources:
  - name: cloudflare
    urll: https://example.com/
  - {name: fleet, type: url, url: "http://example.com/x", json: "edges[.cidr"}
  - {name: own, type: static}
  - name: cloudflare
targets:
  - {type: nginx-geoo, path: /etc/x, sources: [cloudflare]}
  - {type: nftables, ports: [443, 70000], sources: [cloudflare]}
  - {type: text, path: /etc/y, sources: [elsewhere]}
"""
    assert keys_of(text) == [
        (1, "state_dir"),
        (2, "always_alow"),
        (5, "sources[0].urll"),
        (6, "sources[1].url[0]"),
        (7, "sources[2].cidrs"),
        (8, "sources[3].name"),
        (10, "targets[0].type"),
        (11, "targets[1].ports[1]"),
        (12, "targets[2].sources"),
    ]


def test_a_mistake_names_value_allowed_and_the_nearest_key() -> None:
    typo = mistakes_of("sourcess: []\n" + FROM_THE_DOCUMENTATION)[0]
    assert "did you mean sources?" in typo.message
    wrong = mistakes_of(FROM_THE_DOCUMENTATION.replace("nftables,", "iptables,"))[0]
    assert wrong.value == "'iptables'"
    assert "nginx-geo, nginx-allow, nginx-realip, nftables" in wrong.allowed


@pytest.mark.parametrize(
    ("source", "key", "words"),
    [
        ("{name: a, type: url, url: 'http://example.com/'}", "sources[0].url[0]", "loopback addresses only"),
        ("{name: a, type: url, url: 'https://u:p@example.com/'}", "sources[0].url[0]", "stand in logs"),
        ("{name: a, type: url, url: 'file:///etc/passwd'}", "sources[0].url[0]", "begins with https://"),
        ("{name: a, type: url}", "sources[0].url", "needs one"),
        ("{name: a, type: static, cidrs: [1.2.3.4/24]}", "sources[0].cidrs[0]", "host bits"),
        ("{name: a, type: static, cidrs: [0.0.0.0/0]}", "sources[0].cidrs[0]", "let the world in"),
        ("{name: a, type: fastly, json: x}", "sources[0].json", "type url only"),
        ("{name: a, type: google-lb, url: 'https://x.example/'}", "sources[0].url", "fetches nothing"),
        ("{name: a, type: url, url: 'https://x.example/', json: 'a b'}", "sources[0].json", "path expression"),
        ("{name: a, type: url, url: 'https://x.example/', serial: s}", "sources[0].serial", "needs `json`"),
        ("{name: a, type: fastly, fallback: 'https://x.example/'}", "sources[0].fallback", "needs `url`"),
        ("{name: A b, type: fastly}", "sources[0].name", "lower-case"),
        ("{name: a}", "sources[0].type", "is missing"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(source: str, key: str, words: str) -> None:
    found = mistakes_of(with_source(source))
    assert (found[0].key, words in found[0].message) == (key, True), found


def test_http_is_for_loopback_only_and_by_address() -> None:
    parse_config(with_source("{name: a, type: url, url: 'http://127.0.0.1:8080/x'}"), source="x")
    parse_config(with_source("{name: a, type: url, url: 'http://[::1]/x'}"), source="x")
    assert keys_of(with_source("{name: a, type: url, url: 'http://127.0.0.1.example.com/x'}"))


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    found = mistakes_of(FROM_THE_DOCUMENTATION + "targets: []\n")
    assert [(m.line, m.key) for m in found] == [(13, "targets")]
    assert "first on line 10" in found[0].message


def test_two_targets_on_one_place_are_refused() -> None:
    text = with_source("{name: a, type: fastly}") + "  - {type: json, path: /x, sources: [a]}\n"
    assert [m.message for m in mistakes_of(text)] == ["two targets write to"]


def test_world_wide_entries_of_always_allow_are_refused() -> None:
    assert keys_of("always_allow: [0.0.0.0/1]\n" + with_source("{name: a, type: fastly}")) == [(1, "always_allow[0]")]


@pytest.mark.parametrize(
    "text", ["", "- a\n", "a: [\n", "a: &x [*x]\n", "just words\n", "a: !!python/object:os.x {}\n"]
)
def test_what_is_no_map_of_keys_is_one_clear_mistake(text: str) -> None:
    assert mistakes_of(text)


def test_a_missing_file_is_a_mistake_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "absent.yml")
    (tmp_path / "latin.yml").write_bytes(b"a: \xe4\n")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(tmp_path / "latin.yml")
