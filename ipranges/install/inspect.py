"""What a target holds now, beside what it should hold. Reads only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ipranges.config import FileTarget, NftablesTarget, TargetConfig
from ipranges.errors import ApplyError, RefusedError
from ipranges.files import read_if_there
from ipranges.install.file_group import find_open_journal
from ipranges.install.kernel import Live, build_kernel_target
from ipranges.networks import NetworkSet
from ipranges.state import StateStore, TargetRecord
from ipranges.targets import build_file_format
from ipranges.targets.nftables import render_table


@dataclass(frozen=True, slots=True)
class Wanted:
    """One target, and what it should allow."""

    target: TargetConfig
    networks: NetworkSet


@dataclass(frozen=True, slots=True)
class Inspection:
    """`live.networks` is None where nothing (readable) is there; `problem` why it could not be looked at.

    `was_applied`: exactly this was live once, so a difference now is drift and no change of ours.
    """

    wanted: Wanted
    live: Live
    in_sync: bool
    was_applied: bool
    problem: str = ""

    @property
    def label(self) -> str:
        return self.wanted.target.label

    @property
    def added(self) -> NetworkSet:
        return self.wanted.networks - (self.live.networks or NetworkSet())

    @property
    def removed(self) -> NetworkSet:
        return (self.live.networks or NetworkSet()) - self.wanted.networks


def inspect_target(wanted: Wanted, store: StateStore) -> Inspection:
    """Compare live with wanted; a program that fails is a `problem`, not an exception."""
    record = store.load_target(wanted.target.label)
    was_applied = record is not None and record.sha256 == wanted.networks.sha256
    try:
        if isinstance(wanted.target, FileTarget):
            return _inspect_file(wanted, wanted.target, was_applied, store)
        live = build_kernel_target(wanted.target).read(wanted.networks)
    except (ApplyError, RefusedError) as error:
        return Inspection(wanted, Live(None), False, was_applied, str(error))
    in_sync = live.networks == wanted.networks and has_recorded_shape(wanted.target, live, record)
    return Inspection(wanted, live, in_sync, was_applied and record_mode_is(wanted.target, record))


def digest_shape(target: TargetConfig, live: Live) -> str:
    """The rules that we asked for and the rules as the kernel prints them, as one word of the record."""
    asked = render_table(target, NetworkSet()) if isinstance(target, NftablesTarget) else target.place
    return f"{_digest(asked)}:{_digest(live.shape)}"


def has_recorded_shape(target: TargetConfig, live: Live, record: TargetRecord | None) -> bool:
    """Whether the rules around the addresses are those that were proved when they were installed."""
    return record is not None and record.shape == digest_shape(target, live)


def record_mode_is(target: TargetConfig, record: TargetRecord | None) -> bool:
    """Whether the record is of the rules that are asked for now."""
    return record is not None and record.shape.split(":")[0] == digest_shape(target, Live(None)).split(":")[0]


def _inspect_file(wanted: Wanted, target: FileTarget, was_applied: bool, store: StateStore) -> Inspection:
    file_format = build_file_format(target)
    content = read_if_there(Path(target.path))
    live = Live(_parse_content(file_format.parse, content), listing="" if content is None else "present")
    rendered = file_format.render(target.label, wanted.networks).encode()
    # An open journal: a run was killed between the swap and the proof, so the program that reads the
    # file may still run with the old one although the file itself is right.
    interrupted = find_open_journal(store, target.path) is not None
    return Inspection(wanted, live, content == rendered and not interrupted, was_applied)


def _parse_content(parse: Callable[[str], NetworkSet], content: bytes | None) -> NetworkSet | None:
    try:
        return None if content is None else parse(content.decode())
    except (RefusedError, UnicodeDecodeError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
