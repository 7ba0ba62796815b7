"""Where a run's words go: troubles to stderr, a record of each change to the journal or syslog."""

from __future__ import annotations

import json
import os
import sys
import syslog
from collections.abc import Sequence
from typing import Any

from ipranges.errors import ApplyError
from ipranges.install.commands import run_command


def tell_trouble(line: str, *, is_error: bool = False) -> None:
    """One line on stderr; under systemd with its priority. cron mails it, hence nothing else goes there."""
    priority = f"<{3 if is_error else 4}>" if _is_under_systemd() else ""
    print(f"{priority}ipranges: {line}", file=sys.stderr)


def log_changes(changes: Sequence[dict[str, Any]]) -> None:
    """One JSON line a change."""
    for change in changes:
        line = json.dumps(change)
        if _is_under_systemd():
            print(f"<5>{line}", file=sys.stderr)
        else:
            # syslog cuts long messages; the ranges stand in the generation file anyway.
            syslog.openlog("ipranges", syslog.LOG_PID, syslog.LOG_DAEMON)
            syslog.syslog(syslog.LOG_NOTICE, line[:8000])


def run_change_hook(command: Sequence[str], changes: Sequence[dict[str, Any]]) -> None:
    """The operator's command with the changes on its standard input; its failure is told, no more."""
    if not command or not changes:
        return
    try:
        run_command(command, text=json.dumps(list(changes)))
    except ApplyError as error:
        tell_trouble(f"on_change: {error}")


def _is_under_systemd() -> bool:
    return "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty()
