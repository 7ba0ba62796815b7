"""Running other programs: never through a shell, always with an end."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import IO

from ipranges.errors import ApplyError, CommandFailedError

TIMEOUT_SECONDS = 60
# cron's PATH has no sbin, where nft, ipset and nginx live.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_command(command: Sequence[str], *, text: str | None = None) -> str:
    """What a program prints on its standard output; raises CommandFailedError with the line that says why not.

    Raises ApplyError where the program did not end: what it did by then is not known.
    """
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{_PATH}".lstrip(":"), "LC_ALL": "C"}
    try:
        # Files instead of pipes: `nft list` writes millions of bytes line by line, and a program that
        # leaves a child behind (a reload that starts a daemon) would hold a pipe open for ever.
        with TemporaryFile() as given, TemporaryFile() as printed, TemporaryFile() as complained:
            given.write((text or "").encode())
            given.seek(0)
            process = subprocess.Popen(list(command), stdin=given, stdout=printed, stderr=complained, env=environment)
            code = _wait(process, command)
            output, errors = _read_back(printed), _read_back(complained)
    except FileNotFoundError:
        raise CommandFailedError(f"{command[0]} is not installed, or not in PATH") from None
    except OSError as error:
        raise ApplyError(f"{command[0]} could not be run: {error.strerror}") from None
    if code != 0:
        raise CommandFailedError(f"`{' '.join(command[:6])}` failed: {_telling_line(errors or output)}")
    return output


def _wait(process: subprocess.Popen[bytes], command: Sequence[str]) -> int:
    """The exit code. By a descriptor: `Popen.wait` with a timeout sleeps up to 50 ms too long each time."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # a system call filter that does not know it
        return process.wait()
    try:
        if not select.select([descriptor], [], [], TIMEOUT_SECONDS)[0]:
            process.kill()
            process.wait()
            raise ApplyError(f"`{' '.join(command)}` did not end within {TIMEOUT_SECONDS} s")
    finally:
        os.close(descriptor)
    return process.wait()


def _read_back(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _telling_line(output: str) -> str:
    """The line that a person needs: nginx's [emerg], else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    worst = [line for line in lines if "[emerg]" in line or "[ALERT]" in line or "Error:" in line]
    return (worst or lines or ["it said nothing"])[0 if worst else -1][:300]
