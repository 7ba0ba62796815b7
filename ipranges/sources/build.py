"""A source of the configuration to the provider that is asked for it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ipranges.config import SourceConfig
from ipranges.sources.catalog import CATALOG
from ipranges.sources.formats import read_json, read_text
from ipranges.sources.provider import Attempt, Limits, Provider

# Raised whenever a parser or a filter changes: a list that an older parser read must not be kept because
# the server says that nothing changed since.
PARSER_VERSION = 1


def build_provider(source: SourceConfig) -> Provider:
    """The provider of one configured source, with its overrides."""
    if source.type in ("static", "url"):
        provider = Provider(
            name=source.name,
            official="the operator's own",
            verified_on="",
            expected="",
            attempts=tuple(_own_attempts(source)),
            fixed=source.cidrs or (),
            public_key=source.public_key or "",
        )
    else:
        provider = _override_endpoints(replace(CATALOG[source.type], name=source.name), source)
    return replace(provider, limits=_build_limits(provider.limits, source))


def fingerprint_source(source: SourceConfig) -> str:
    """What a remembered list depends on besides its bytes; another value voids conditional requests."""
    settings = source.model_dump_json(
        include={"type", "url", "fallback", "json_paths", "serial", "families", "public_key"}
    )
    return hashlib.sha256(f"{PARSER_VERSION}\n{settings}".encode()).hexdigest()[:16]


def _own_attempts(source: SourceConfig) -> list[Attempt]:
    if source.json_paths:
        reader = read_json(*source.json_paths, serial=source.serial or "")
        accept = "application/json"
    else:
        reader, accept = read_text, "text/plain"
    urls = [urls for urls in (source.url, source.fallback) if urls]
    return [Attempt(each, reader, accept=accept) for each in urls]


def _override_endpoints(provider: Provider, source: SourceConfig) -> Provider:
    """Replace the addresses and keep the way to read them, told by how many documents there are."""
    if source.url is None:
        return provider
    attempts = []
    for urls in (source.url, source.fallback):
        if urls is not None:
            like = next((a for a in provider.attempts if len(a.urls) == len(urls)), provider.attempts[-1])
            attempts.append(replace(like, urls=urls, discovery=None))
    return replace(provider, attempts=tuple(attempts))


def _build_limits(limits: Limits, source: SourceConfig) -> Limits:
    allow_private = source.type == "static" if source.allow_private is None else source.allow_private
    return replace(
        limits,
        min_prefix_v4=limits.min_prefix_v4 if source.min_prefix_v4 is None else source.min_prefix_v4,
        min_prefix_v6=limits.min_prefix_v6 if source.min_prefix_v6 is None else source.min_prefix_v6,
        families=limits.families if source.families is None else source.families,
        allow_private=allow_private,
        max_prefixes=source.max_prefixes,
    )
