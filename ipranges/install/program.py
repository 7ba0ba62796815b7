"""The programs that read our files: how each tests a candidate, tests the whole, and takes it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ipranges.config import FileTarget
from ipranges.install.commands import run_command
from ipranges.networks import NetworkSet


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file on its way from `old` (None: it was not there) to `new`."""

    target: FileTarget
    networks: NetworkSet
    new: bytes
    old: bytes | None

    @property
    def path(self) -> Path:
        return Path(self.target.path)


class Program(Protocol):
    """One running program, and the transaction's steps that need it."""

    def check_candidate(self, change: FileChange) -> None:
        """Read the new file alone, in a private configuration; raises ApplyError. Nothing live changes."""

    def test(self) -> None:
        """Test the program's whole configuration as it stands; raises ApplyError."""

    def take_up(self, changes: Sequence[FileChange]) -> str:
        """Reload and prove that the new files are in force; returns a remark or nothing.

        Raises ApplyError.
        """

    def reload(self) -> None:
        """Reload without proof, after files were put back; raises ApplyError."""


class PlainProgram:
    """Files that no known program reads: the operator's own commands, if any."""

    def __init__(self, target: FileTarget) -> None:
        self._test = target.test
        self._reload = target.reload

    def check_candidate(self, change: FileChange) -> None:
        """Nothing reads the format but programs of the operator's own."""

    def test(self) -> None:
        if self._test:
            run_command(self._test)

    def take_up(self, changes: Sequence[FileChange]) -> str:
        self.reload()
        return ""

    def reload(self) -> None:
        if self._reload:
            run_command(self._reload)
