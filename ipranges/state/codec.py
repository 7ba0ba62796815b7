"""Remembered values to JSON and back. A file that is not exactly what we wrote is damaged, not empty."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from ipranges.errors import IprangesError, StateDamagedError
from ipranges.model import Candidate, Edition, Leaving, SourceMemory, Validators
from ipranges.networks import NetworkSet, parse_network_set

SCHEMA = 1


def render_document(kind: str, content: dict[str, Any]) -> bytes:
    """A state file: one JSON map of schema, kind, digest and content."""
    text = _render_content(content)
    head = json.dumps({"schema": SCHEMA, "kind": kind, "sha256": _digest(text)})
    return f'{head[:-1]}, "content": {text}}}\n'.encode()


def parse_document(kind: str, body: bytes, *, where: str) -> dict[str, Any]:
    """The content of a state file; raises StateDamagedError that says whether it is newer or broken."""
    try:
        document = json.loads(body)
        schema, content = document["schema"], document["content"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StateDamagedError(f"{where} is damaged: it is not JSON that ipranges wrote") from None
    if schema != SCHEMA:
        message = f"{where} has schema {schema!r}, and this version of ipranges writes {SCHEMA}"
        raise StateDamagedError(message, is_newer=isinstance(schema, int) and schema > SCHEMA)
    if document.get("kind") != kind or document.get("sha256") != _digest(_render_content(content)):
        raise StateDamagedError(f"{where} is damaged: its digest does not fit its content")
    if not isinstance(content, dict):
        raise StateDamagedError(f"{where} is damaged: it holds no map")
    return content


def _render_content(content: Any) -> str:
    return json.dumps(content, sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def encode_networks(networks: NetworkSet) -> list[str]:
    """The canonical CIDRs."""
    return list(networks.all_cidrs)


def decode_networks(cidrs: list[str]) -> NetworkSet:
    """The set; raises MalformedNetworkError."""
    return parse_network_set(cidrs)


def encode_memory(memory: SourceMemory) -> dict[str, Any]:
    """One source's memory as plain values."""
    return {
        "name": memory.name,
        "current": _encode_edition(memory.current),
        "leaving": [
            {"networks": encode_networks(e.networks), "since": e.since, "sightings": e.sightings}
            for e in memory.leaving
        ],
        "candidate": _encode_candidate(memory.candidate),
        "validators": asdict(memory.validators) if memory.validators else None,
        "refused_sha256": list(memory.refused_sha256),
        "changed_at": memory.changed_at,
        "seeded": memory.seeded,
        "fingerprint": memory.fingerprint,
    }


def decode_memory(content: dict[str, Any], *, where: str) -> SourceMemory:
    """Plain values to a memory; raises StateDamagedError."""
    try:
        return SourceMemory(
            name=content["name"],
            current=_decode_edition(content["current"]),
            leaving=tuple(
                Leaving(decode_networks(e["networks"]), int(e["since"]), int(e["sightings"]))
                for e in content["leaving"]
            ),
            candidate=_decode_candidate(content["candidate"]),
            validators=Validators(**content["validators"]) if content["validators"] else None,
            refused_sha256=tuple(content["refused_sha256"]),
            changed_at=int(content["changed_at"]),
            seeded=bool(content["seeded"]),
            fingerprint=str(content["fingerprint"]),
        )
    except (KeyError, TypeError, ValueError, IprangesError):
        raise StateDamagedError(f"{where} is damaged: a value is missing or of another kind") from None


def _encode_edition(edition: Edition | None) -> dict[str, Any] | None:
    if edition is None:
        return None
    return {
        "networks": encode_networks(edition.networks),
        "fetched_at": edition.fetched_at,
        "url": edition.url,
        "version": edition.version,
        "serial": edition.serial,
    }


def _decode_edition(value: dict[str, Any] | None) -> Edition | None:
    if value is None:
        return None
    networks = decode_networks(value["networks"])
    return Edition(networks, int(value["fetched_at"]), value["url"], value["version"], value["serial"])


def _encode_candidate(candidate: Candidate | None) -> dict[str, Any] | None:
    if candidate is None:
        return None
    return {
        "edition": _encode_edition(candidate.edition),
        "reason": candidate.reason,
        "figures": candidate.figures,
        "first_seen_at": candidate.first_seen_at,
        "sightings": candidate.sightings,
    }


def _decode_candidate(value: dict[str, Any] | None) -> Candidate | None:
    if value is None:
        return None
    edition = _decode_edition(value["edition"])
    if edition is None:
        raise ValueError("a candidate without an edition")
    return Candidate(edition, value["reason"], value["figures"], value["first_seen_at"], value["sightings"])
