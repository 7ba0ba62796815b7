"""Every error that ipranges raises on purpose, as one tree, and the exit codes.

    IprangesError                 1
    ├── ConfigError               2   the configuration file cannot be used; lists every mistake
    ├── RefusedError              4   what a source answered is not a list that may be installed
    │   └── MalformedNetworkError     ... a token is no canonical network
    ├── FetchError                4   a source did not answer, or not in the way that it must
    ├── OlderEditionError         0   a source answered with an edition older than ours
    ├── StateDamagedError         3   a state file is not one that we wrote; nothing rests on it
    ├── NotAllowedError           3   a person asked for something that a guard refuses
    ├── ApplyError                6   a target could not be changed, and stands as it was before
    │   ├── CommandFailedError        ... since a program said no, and did nothing
    │   └── PutBackError          7   ... and could not be put back either: somebody has to look
    └── LockBusyError            75   another run is under way (EX_TEMPFAIL)

`str(error)` is one sentence for the operator: what, where, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says to cron, systemd and scripts. Stable; documented in docs/ipranges.md."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    HELD = 3
    SOURCE_FAILED = 4
    STALE = 5
    APPLY_FAILED = 6
    PUT_BACK_FAILED = 7
    WOULD_CHANGE = 10
    LOCKED = 75


# The run's exit code is the gravest of what happened in it: a broken target outranks a stale list,
# a stale list outranks one that waits for a person, and that outranks a failed fetch.
GRAVITY = (
    ExitCode.PUT_BACK_FAILED,
    ExitCode.APPLY_FAILED,
    ExitCode.STALE,
    ExitCode.HELD,
    ExitCode.SOURCE_FAILED,
    ExitCode.OK,
)


class IprangesError(Exception):
    """Base of all errors that ipranges raises on purpose."""

    exit_code = ExitCode.INTERNAL


@dataclass(frozen=True, slots=True)
class ConfigMistake:
    """One mistake in the configuration file. `line` counts from 1; 0 where no line can be named."""

    line: int
    key: str
    message: str
    value: str = ""
    allowed: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        key = f"{self.key}: " if self.key else ""
        value = f" (got {self.value})" if self.value else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{place}{key}{self.message}{value}{allowed}"


class ConfigError(IprangesError):
    """Raised if a configuration cannot be used. `mistakes` lists all of them, in file order."""

    exit_code = ExitCode.USAGE

    def __init__(self, source: str, mistakes: tuple[ConfigMistake, ...]) -> None:
        self.source = source
        self.mistakes = mistakes
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        listed = "\n".join(f"  {mistake}" for mistake in mistakes)
        super().__init__(f"{source}: {count}, nothing was changed\n{listed}")


class RefusedError(IprangesError):
    """Raised if an answer is not a list that may be installed. The message names the token or the figure."""

    exit_code = ExitCode.SOURCE_FAILED


class MalformedNetworkError(RefusedError):
    """Raised if a token is not a network in canonical form."""


class FetchError(IprangesError):
    """Raised if a source did not answer completely, in time, within its size, or with the right status."""

    exit_code = ExitCode.SOURCE_FAILED


class OlderEditionError(IprangesError):
    """Raised if a source answered with an edition whose serial is below the one already accepted."""

    exit_code = ExitCode.OK


class StateDamagedError(IprangesError):
    """Raised if a state file cannot be what we wrote: not JSON, another schema, a digest that differs.

    `is_newer` says that a later version of ipranges wrote it: then it must not be overwritten.
    """

    exit_code = ExitCode.HELD

    def __init__(self, message: str, *, is_newer: bool = False) -> None:
        self.is_newer = is_newer
        super().__init__(message)


class NotAllowedError(IprangesError):
    """Raised if a person asks for what a guard refuses: a wrong digest, or a step that would cut them off."""

    exit_code = ExitCode.HELD


class ApplyError(IprangesError):
    """Raised if a target could not be changed. It stands as it stood before the attempt."""

    exit_code = ExitCode.APPLY_FAILED


class CommandFailedError(ApplyError):
    """Raised if a program is not installed, or ended with another code than 0."""


class PutBackError(ApplyError):
    """Raised if a target could not be changed and could not be put back. Page someone."""

    exit_code = ExitCode.PUT_BACK_FAILED


class LockBusyError(IprangesError):
    """Raised if another run holds the lock of the state directory."""

    exit_code = ExitCode.LOCKED


def gravest(codes: list[ExitCode]) -> ExitCode:
    """The exit code of a run in which all of `codes` happened."""
    return next((code for code in GRAVITY if code in codes), ExitCode.OK)
