"""The index against the plainest way to say the same: try every domain with a regular expression."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from authd.config.domains import DomainPattern, parse_domain
from authd.policy.domains import build_domain_index

LABELS = ("a", "ab", "b", "test", "*", "a*", "*b", "a*b", "*test")
SEGMENTS = ("a", "ab", "b", "*", "a*", "*b", "a*b")


def host_expression(host: str) -> str:
    labels = [
        "[^.]+" if label == "*" else "(?=[^.])" + re.escape(label).replace(r"\*", "[^.]*") for label in host.split(".")
    ]
    return r"\.".join(labels)


def path_expression(path: str) -> str:
    return re.escape(path).replace(r"\*", ".*") + ("" if path.endswith("*") else "(/.*)?")


def covers(domain: DomainPattern, host: str, path: str) -> bool:
    return (
        re.fullmatch(host_expression(domain.host), host) is not None
        and re.fullmatch(path_expression(domain.path), path, re.DOTALL) is not None
    )


def specificity(domain: DomainPattern) -> tuple[object, ...]:
    """Exact host; then longest literal ending, beginning, and text; then the same for the path's beginning."""
    host, path = domain.host, domain.path
    wild = "*" in host
    return (
        not wild,
        len(host.rpartition("*")[2]) if wild else 0,
        len(host.partition("*")[0]) if wild else 0,
        len(host) - host.count("*"),
        -host.count("*"),
        [-ord(letter) for letter in host],
        len(path.partition("*")[0]),
        len(path) - path.count("*"),
        -path.count("*"),
        [-ord(letter) for letter in path],
    )


def find_by_trying_all(domains: list[DomainPattern], host: str, path: str) -> DomainPattern | None:
    return max((domain for domain in domains if covers(domain, host, path)), key=specificity, default=None)


hosts = st.lists(st.sampled_from(LABELS), min_size=1, max_size=2).map(lambda labels: ".".join([*labels, "x"]))
paths = st.lists(st.sampled_from(SEGMENTS), max_size=3).map(lambda segments: "".join(f"/{part}" for part in segments))
domains = st.lists(
    st.tuples(hosts, paths).map(lambda parts: parse_domain("".join(parts))),
    max_size=12,
    unique_by=lambda domain: (domain.host, domain.path),
)
asked_hosts = st.lists(st.sampled_from(["a", "ab", "b", "test", "atest", "aab", "", "A"]), min_size=1, max_size=3)
asked_paths = st.lists(st.sampled_from(["a", "ab", "b", "aab", "ba", "", "\n"]), max_size=4)


@given(domains, st.lists(st.tuples(asked_hosts, asked_paths), min_size=1, max_size=8))
def test_the_index_finds_what_trying_every_domain_finds(
    configured: list[DomainPattern], asked: list[tuple[list[str], list[str]]]
) -> None:
    index = build_domain_index((domain, domain) for domain in configured)
    for labels, segments in asked:
        host, path = ".".join([*labels, "x"]), "/" + "/".join(segments)
        expected = find_by_trying_all(configured, host, path) if host == host.lower() else None
        assert index.find(host, path) == expected, (host, path)


@given(domains, asked_hosts)
def test_no_order_of_the_file_changes_the_answer(configured: list[DomainPattern], labels: list[str]) -> None:
    host = ".".join([*labels, "x"])
    forwards = build_domain_index((domain, domain) for domain in configured)
    backwards = build_domain_index((domain, domain) for domain in reversed(configured))
    for path in ("/", "/a", "/a/b", "/ab/b/a"):
        assert forwards.find(host, path) == backwards.find(host, path)


@given(domains, st.sampled_from(["a.x", "ab.x", "b.a.x", "test.x"]))
def test_a_host_with_one_owner_has_it_on_every_path(configured: list[DomainPattern], host: str) -> None:
    index = build_domain_index((domain, str(domain)) for domain in configured)
    entries = list(index.walk_entries(host))
    owners = {index.find(host, path) for path in ("/", "/a", "/a/b", "/b/ab/a", "/zzz")}
    if len(entries) == 1 and entries[0].whole is not None and not entries[0].patterns:
        assert owners == {entries[0].whole}
