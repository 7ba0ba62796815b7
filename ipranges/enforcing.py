"""`enforce --confirm`: switch the firewall on, and off again unless somebody who still gets in says so."""

from __future__ import annotations

import signal
from pathlib import Path

from ipranges.config import Config, NftablesTarget
from ipranges.errors import ExitCode, NotAllowedError
from ipranges.install.lockout import note_name
from ipranges.runtime import Runtime
from ipranges.state import StateStore, hold_lock
from ipranges.sync import RunReport, apply_remembered

_POLL_SECONDS = 0.2


def begin_enforcing(config: Config, labels: tuple[str, ...], confirm_seconds: int, runtime: Runtime) -> RunReport:
    """Install the configured rules and note until when they must be confirmed. The lock must be held.

    Raises NotAllowedError for a label that is no firewall in mode `enforce`.
    """
    store = StateStore(Path(config.state_dir))
    targets = find_enforceable(config, labels)
    deadline = runtime.clock() + confirm_seconds
    for target in targets:
        store.save_note(note_name(target.label), {"deadline": deadline})
    report = apply_remembered(replace_targets(config, targets), runtime, only_kernel=True)
    if report.exit_code != ExitCode.OK:
        # Nothing is enforced, so nothing waits for a word.
        for target in targets:
            store.remove_note(note_name(target.label))
    return report


def wait_for_confirmation(config: Config, labels: tuple[str, ...], runtime: Runtime) -> bool:
    """Wait until somebody confirmed (True), or put the targets back to observing at the deadline (False).

    A connection that is cut sends SIGHUP; the wait must outlive it, or nobody would put anything back.
    Killed all the same, the next run does it: the deadline stands in the state directory.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    store = StateStore(Path(config.state_dir))
    names = [note_name(target.label) for target in find_enforceable(config, labels)]
    while True:
        notes = [note for note in map(store.load_note, names) if note is not None]
        if not notes:
            return True
        if runtime.clock() >= min(float(note["deadline"]) for note in notes):
            break
        runtime.sleep(_POLL_SECONDS)
    with hold_lock(Path(config.state_dir), wait_seconds=60):
        apply_remembered(config, runtime, only_kernel=True)
    return False


def confirm(config: Config, runtime: Runtime) -> list[str]:
    """Say that whoever enforced still gets in: the labels that are now enforced for good."""
    store = StateStore(Path(config.state_dir))
    confirmed = []
    for target in config.targets:
        note = store.load_note(note_name(target.label))
        if note is not None and float(note["deadline"]) > runtime.clock():
            store.remove_note(note_name(target.label))
            confirmed.append(target.label)
    return confirmed


def enforce_for_good(config: Config, labels: tuple[str, ...], runtime: Runtime) -> RunReport:
    """Enforce without a confirmation, also where one was missed before."""
    store = StateStore(Path(config.state_dir))
    for target in find_enforceable(config, labels):
        store.remove_note(note_name(target.label))
    return apply_remembered(config, runtime, only_kernel=True)


def find_enforceable(config: Config, labels: tuple[str, ...]) -> list[NftablesTarget]:
    """The firewall targets in mode `enforce`, all of them or the named ones; raises NotAllowedError."""
    able = {t.label: t for t in config.targets if isinstance(t, NftablesTarget) and t.mode == "enforce"}
    unknown = [label for label in labels if label not in able]
    if unknown or not able:
        known = ", ".join(able) or "none; a target of type nftables with `mode: enforce` is"
        raise NotAllowedError(f"{', '.join(unknown) or 'nothing'} can be enforced; possible: {known}")
    return [able[label] for label in labels or able]


def replace_targets(config: Config, targets: list[NftablesTarget]) -> Config:
    """The same configuration with these targets only."""
    return config.model_copy(update={"targets": tuple(targets)})
