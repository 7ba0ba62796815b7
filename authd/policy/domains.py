"""Which application covers a host and a path, at a cost that does not grow with their number.

Exact hosts stand in a dictionary. Wildcards stand under the literal text around them: hosts under
what follows their last `*` and what precedes their first, paths under what precedes their first;
only the few lengths that occur are tried. Sources and open points: docs/adr/0010.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from authd.config import DomainPattern

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class PathPattern(Generic[Owner]):
    """`/foo*/bar`: begins with `prefix`, then the pieces of `rest` in order, with anything between.

    Without a final `*` it ends where a segment ends, and covers everything below that.
    """

    prefix: str
    rest: tuple[str, ...]
    owner: Owner

    def covers(self, path: str) -> bool:
        """Whether the pattern covers a path that is known to begin with `prefix`."""
        position = len(self.prefix)
        if not self.rest:
            return _ends_segment(path, position)
        for piece in self.rest[:-1]:
            found = path.find(piece, position)
            if found < 0:
                return False
            position = found + len(piece)
        return _covers_last(path, position, self.rest[-1])


def _covers_last(path: str, position: int, piece: str) -> bool:
    if piece == "":
        return True
    found = path.find(piece, position)
    while found >= 0:
        if _ends_segment(path, found + len(piece)):
            return True
        found = path.find(piece, found + 1)
    return False


def _ends_segment(path: str, position: int) -> bool:
    return len(path) == position or path[position] == "/"


@dataclass(frozen=True, slots=True)
class HostEntry(Generic[Owner]):
    """What is configured for one host or one host pattern.

    `whole` owns every path that no pattern covers. `patterns` are keyed by their literal prefix and
    ranked within it; `prefix_lengths` are the lengths that occur, longest first.
    """

    port: int | None
    whole: Owner | None
    prefix_lengths: tuple[int, ...]
    patterns: Mapping[str, tuple[PathPattern[Owner], ...]]

    def find(self, path: str) -> Owner | None:
        """The most specific owner of a path: the longest literal beginning wins."""
        for length in self.prefix_lengths:
            for pattern in self.patterns.get(path[:length], ()):
                if pattern.covers(path):
                    return pattern.owner
        return self.whole

    def walk_path_owners(self) -> Iterator[Owner]:
        for patterns in self.patterns.values():
            for pattern in patterns:
                yield pattern.owner


@dataclass(frozen=True, slots=True)
class WildcardHost(Generic[Owner]):
    """`*test.*.example.com`; each label is (literal before the `*`, literal after it), or one literal."""

    labels: tuple[tuple[str, ...], ...]
    entry: HostEntry[Owner]

    def covers(self, host: str) -> bool:
        return _labels_match(self.labels, host)


def find_configured_host(domains: Iterable[DomainPattern], host: str) -> str | None:
    """The host, wildcards included, of whichever of these domains `host` is reached under; None if under none."""
    patterns = sorted({domain.host for domain in domains}, key=_rank)
    if host in patterns:
        return host
    return next((pattern for pattern in patterns if _labels_match(_split_labels(pattern), host)), None)


def _split_labels(pattern: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(label.split("*")) for label in pattern.split("."))


def _labels_match(pattern: tuple[tuple[str, ...], ...], host: str) -> bool:
    labels = host.split(".")
    return len(labels) == len(pattern) and all(map(_label_matches, pattern, labels))


def _label_matches(pattern: tuple[str, ...], label: str) -> bool:
    if len(pattern) == 1:
        return label == pattern[0]
    before, after = pattern
    # A `*` may stand for nothing, but no label is empty.
    long_enough = len(label) >= max(1, len(before) + len(after))
    return long_enough and label.startswith(before) and label.endswith(after)


@dataclass(frozen=True, slots=True)
class _Suffix(Generic[Owner]):
    prefix_lengths: tuple[int, ...]
    by_prefix: Mapping[str, tuple[WildcardHost[Owner], ...]]


@dataclass(frozen=True, slots=True)
class DomainIndex(Generic[Owner]):
    """Finds the owner of a host and a path. Build it with `build_domain_index`."""

    exact: Mapping[str, HostEntry[Owner]]
    suffix_lengths: tuple[int, ...]
    suffixes: Mapping[str, _Suffix[Owner]]

    def find(self, host: str, path: str) -> Owner | None:
        """The most specific owner: exact host, then the longest wildcard; then the longest path."""
        entry = self.exact.get(host)
        if entry is not None:
            owner = entry.find(path)
            if owner is not None:
                return owner
        for entry in self.walk_wildcards(host):
            owner = entry.find(path)
            if owner is not None:
                return owner
        return None

    def walk_entries(self, host: str) -> Iterator[HostEntry[Owner]]:
        """Everything that is configured for a host, the most specific first."""
        entry = self.exact.get(host)
        if entry is not None:
            yield entry
        yield from self.walk_wildcards(host)

    def walk_wildcards(self, host: str) -> Iterator[HostEntry[Owner]]:
        """The wildcards that cover a host: longest literal ending first, then longest beginning."""
        # A host in upper case would miss the exact application and then meet the `*` of a laxer one
        # (Authelia's CVE-2026-48794). nginx lowers hosts; whoever does not gets nothing.
        if not self.suffix_lengths or host != host.lower():
            return
        for length in self.suffix_lengths:
            suffix = self.suffixes.get(host[-length:])
            if suffix is not None:
                yield from _walk_suffix(suffix, host)


def _walk_suffix(suffix: _Suffix[Owner], host: str) -> Iterator[HostEntry[Owner]]:
    for length in suffix.prefix_lengths:
        for wildcard in suffix.by_prefix.get(host[:length], ()):
            if wildcard.covers(host):
                yield wildcard.entry


def build_domain_index(domains: Iterable[tuple[DomainPattern, Owner]]) -> DomainIndex[Owner]:
    """Index domains with their owners. Every (host, path) stands at most once (the configuration's check)."""
    by_host: dict[str, list[tuple[DomainPattern, Owner]]] = {}
    for domain, owner in domains:
        by_host.setdefault(domain.host, []).append((domain, owner))
    entries = {host: _build_host_entry(pairs) for host, pairs in by_host.items()}
    suffixes = _build_suffixes({host: entry for host, entry in entries.items() if "*" in host})
    return DomainIndex(
        exact={host: entry for host, entry in entries.items() if "*" not in host},
        suffix_lengths=_order_lengths(suffixes),
        suffixes=suffixes,
    )


def _build_host_entry(pairs: list[tuple[DomainPattern, Owner]]) -> HostEntry[Owner]:
    patterns: dict[str, list[PathPattern[Owner]]] = {}
    ranked = sorted((pair for pair in pairs if pair[0].path), key=lambda pair: _rank(pair[0].path))
    for domain, owner in ranked:
        prefix, *rest = domain.path.split("*")
        patterns.setdefault(prefix, []).append(PathPattern(prefix, tuple(rest), owner))
    return HostEntry(
        port=next((domain.port for domain, _ in pairs if domain.port is not None), None),
        whole=next((owner for domain, owner in pairs if domain.is_whole_host), None),
        prefix_lengths=_order_lengths(patterns),
        patterns={prefix: tuple(entries) for prefix, entries in patterns.items()},
    )


def _build_suffixes(entries: Mapping[str, HostEntry[Owner]]) -> dict[str, _Suffix[Owner]]:
    grouped: dict[str, dict[str, list[WildcardHost[Owner]]]] = {}
    for host in sorted(entries, key=_rank):
        prefix, suffix = host.partition("*")[0], host.rpartition("*")[2]
        wildcard = WildcardHost(_split_labels(host), entries[host])
        grouped.setdefault(suffix, {}).setdefault(prefix, []).append(wildcard)
    return {
        suffix: _Suffix(_order_lengths(by_prefix), {key: tuple(found) for key, found in by_prefix.items()})
        for suffix, by_prefix in grouped.items()
    }


def _order_lengths(texts: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({len(text) for text in texts}, reverse=True))


def _rank(pattern: str) -> tuple[int, int, str]:
    """Among patterns with the same literal ends: more literal text, then fewer `*`, then the alphabet."""
    stars = pattern.count("*")
    return (stars - len(pattern), stars, pattern)
