"""Forks a run of ipranges for each number on standard input; the run kills itself after so many calls."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipranges.config import load_config
from ipranges.runtime import Runtime
from ipranges.state import hold_lock
from ipranges.sync import sync

CALLS = ("replace", "fsync", "unlink", "fchmod", "mkdir", "write", "open")


def count_calls(kill_after: int) -> dict[str, int]:
    """Wrap every function of `os` that ipranges changes files with; after the n-th the process is no more."""
    counted = dict.fromkeys(CALLS, 0)

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            result = real(*arguments, **named)
            if name != "open" or (len(arguments) > 1 and arguments[1] & os.O_CREAT):
                counted[name] += 1
                if sum(counted.values()) == kill_after:
                    report(f"killed {name}")
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CALLS:
        setattr(os, name, wrap(name, getattr(os, name)))
    return counted


def report(words: str) -> None:
    """One line for the test."""
    WRITE(1, f"{words}\n".encode())


WRITE = os.write


def run_once(config_path: Path, kill_after: int) -> None:
    """One run in a child of our own."""
    child = os.fork()
    if child == 0:
        counted = count_calls(kill_after)
        config = load_config(config_path)
        with hold_lock(Path(config.state_dir)):
            sync(config, Runtime())
        report("done " + " ".join(f"{name}={count}" for name, count in counted.items()))
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    for line in sys.stdin:
        run_once(Path(sys.argv[1]), int(line))
