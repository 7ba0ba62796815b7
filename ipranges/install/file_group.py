"""The transaction over all files that one program reads: swap, test, reload, prove, or put back.

A journal is synced to disk before the first swap and removed after the proof. A run that is killed in
between leaves whole files (each swap is a rename), and the next run finds the journal: it knows the old
contents, and that the program may not have taken up the new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ipranges.config import CaddyTarget, FileTarget, HaproxyTarget, NginxTarget
from ipranges.errors import ApplyError, CommandFailedError, PutBackError
from ipranges.files import read_if_there, remove_atomically, write_atomically
from ipranges.install.nginx import NginxProgram
from ipranges.install.program import FileChange, PlainProgram, Program
from ipranges.install.proxies import CaddyProgram, HaproxyProgram
from ipranges.state import StateStore


def build_program(target: FileTarget) -> Program:
    """The program that reads a target's file."""
    if isinstance(target, NginxTarget):
        return NginxProgram(target)
    if isinstance(target, HaproxyTarget):
        return HaproxyProgram(target)
    return CaddyProgram(target) if isinstance(target, CaddyTarget) else PlainProgram(target)


def group_key(target: FileTarget) -> tuple[object, ...]:
    """Files with the same key are changed together: one test and one reload for all of one nginx's."""
    if isinstance(target, NginxTarget):
        return ("nginx", target.test, target.reload, target.pid_file)
    return (target.type_name, target.path)


def find_open_journal(store: StateStore, path: str) -> dict[str, Any] | None:
    """What an interrupted run noted about a file: `old` is its content before, None if it was not there."""
    for note in store.list_notes("journal-"):
        for entry in note["files"]:
            if entry["path"] == path:
                return dict(entry)
    return None


def install_group(changes: Sequence[FileChange], program: Program, store: StateStore) -> str:
    """Change all files and prove it; returns a remark or nothing.

    Raises ApplyError after putting everything back, PutBackError where that failed.
    """
    changes = [_with_journaled_old(change, store) for change in changes]
    note = _journal_name(changes)
    store.save_note(note, {"files": [_describe(change) for change in changes]})
    reloaded = False
    try:
        for change in changes:
            write_atomically(change.path, change.new)
        program.test()
        reloaded = True
        remark = program.take_up(changes)
    except ApplyError as error:
        # A reload that was refused changed nothing, so there is nothing to reload back.
        reloaded = reloaded and not isinstance(error, CommandFailedError)
        verdict = _put_back(changes, program, error, reloaded)
        store.remove_note(note)
        raise verdict from None
    store.remove_note(note)
    return remark


def _put_back(changes: Sequence[FileChange], program: Program, cause: ApplyError, reloaded: bool) -> ApplyError:
    """Restore the files; the error to raise: ours, not ours, or worse."""
    try:
        for change in changes:
            if read_if_there(change.path) == change.old:
                continue  # never swapped; where that failed, so would this
            if change.old is None:
                remove_atomically(change.path)
            else:
                write_atomically(change.path, change.old)
    except ApplyError as error:
        raise PutBackError(f"{cause}; and the old file could not be put back: {error}") from None
    try:
        program.test()
    except ApplyError:
        # With the old files it fails as well: somebody else's part is broken, and a reload would fail too.
        return ApplyError(f"{cause}; not ours: with the old list it fails as well; the old list stays")
    if reloaded:
        try:
            program.reload()
        except ApplyError as error:
            raise PutBackError(f"{cause}; the old list is back, but the reload failed: {error}") from None
    return ApplyError(f"{cause}; the old list was put back")


def _with_journaled_old(change: FileChange, store: StateStore) -> FileChange:
    entry = find_open_journal(store, change.target.path)
    if entry is None:
        return change
    old = entry["old"]
    return replace(change, old=None if old is None else old.encode("utf-8", "surrogateescape"))


def _describe(change: FileChange) -> dict[str, Any]:
    old = None if change.old is None else change.old.decode("utf-8", "surrogateescape")
    return {"path": change.target.path, "old": old}


def _journal_name(changes: Sequence[FileChange]) -> str:
    paths = "\n".join(sorted(change.target.path for change in changes))
    return f"journal-{hashlib.sha256(paths.encode()).hexdigest()[:16]}"
