"""The words that every part shares. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ipranges.networks import NetworkSet


@dataclass(frozen=True, slots=True)
class UnverifiedEdition:
    """What a source's documents said, before anything was checked but their shape."""

    tokens: tuple[str, ...]
    version: str = ""
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class Edition:
    """One verified list of one source. Times are Unix seconds.

    `version` is the provider's own word for it, and decides nothing; `serial`, where a provider has
    one, never decreases.
    """

    networks: NetworkSet
    fetched_at: int
    url: str
    version: str = ""
    serial: int | None = None

    @property
    def sha256(self) -> str:
        return self.networks.sha256


@dataclass(frozen=True, slots=True)
class Leaving:
    """Ranges that a source no longer publishes and that are still allowed for a while."""

    networks: NetworkSet
    since: int
    sightings: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An edition that a guard held. `reason` is the guard's word, `figures` its sentence."""

    edition: Edition
    reason: str
    figures: str
    first_seen_at: int
    sightings: int = 1


@dataclass(frozen=True, slots=True)
class Validators:
    """What to send for a conditional request; kept only beside a body that passed every check."""

    url: str
    etag: str = ""
    last_modified: str = ""
    fetched_at: int = 0


@dataclass(frozen=True, slots=True)
class SourceMemory:
    """All that is remembered of one source. `fingerprint` is the configuration that it belongs to."""

    name: str
    current: Edition | None = None
    leaving: tuple[Leaving, ...] = ()
    candidate: Candidate | None = None
    validators: Validators | None = None
    refused_sha256: tuple[str, ...] = ()
    changed_at: int = 0
    seeded: bool = False
    fingerprint: str = ""

    @property
    def installed(self) -> NetworkSet:
        """What targets allow on this source's account: its list, and what has not left yet."""
        networks = self.current.networks if self.current else NetworkSet()
        for leaving in self.leaving:
            networks |= leaving.networks
        return networks


@dataclass(frozen=True, slots=True)
class Stamps:
    """When a source last answered and failed. Apart from SourceMemory: these change on every run."""

    last_success_at: int = 0
    last_failure_at: int = 0
    last_failure: str = ""
    failures_total: int = 0


class SourceOutcome(StrEnum):
    """What became of one source in one run. A closed list: it stands in reports, logs and docs."""

    FIRST = "first"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    OLDER = "older"
    SEEDED = "seeded"
    HELD = "held"
    FAILED = "failed"
    NO_LIST = "no_list"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class SourceResult:
    """One source in one run, with the sentence for the operator where there is something to say."""

    name: str
    outcome: SourceOutcome
    message: str = ""
    added: NetworkSet = field(default_factory=NetworkSet)
    removed: NetworkSet = field(default_factory=NetworkSet)


class TargetOutcome(StrEnum):
    """What became of one target in one run."""

    IN_SYNC = "in_sync"
    CHANGED = "changed"
    REPAIRED = "repaired"
    SKIPPED = "skipped"
    HELD = "held"
    FAILED = "failed"
    PUT_BACK_FAILED = "put_back_failed"


@dataclass(frozen=True, slots=True)
class TargetResult:
    """One target in one run: `added` and `removed` are against what was live before."""

    name: str
    outcome: TargetOutcome
    message: str = ""
    added: NetworkSet = field(default_factory=NetworkSet)
    removed: NetworkSet = field(default_factory=NetworkSet)
