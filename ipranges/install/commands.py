"""Running other programs: never through a shell, always with an end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ipranges.errors import ApplyError

TIMEOUT_SECONDS = 60
# cron's PATH has no sbin, where nft, ipset and nginx live.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_command(command: Sequence[str], *, text: str | None = None) -> str:
    """What a program prints on its standard output; raises ApplyError with the line that says why not."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{_PATH}".lstrip(":"), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            list(command),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise ApplyError(f"{command[0]} is not installed, or not in PATH") from None
    except subprocess.TimeoutExpired:
        raise ApplyError(f"`{' '.join(command)}` did not end within {TIMEOUT_SECONDS} s") from None
    except OSError as error:
        raise ApplyError(f"{command[0]} could not be run: {error.strerror}") from None
    if done.returncode != 0:
        raise ApplyError(f"`{' '.join(command[:6])}` failed: {_telling_line(done.stderr or done.stdout)}")
    return done.stdout


def _telling_line(output: str) -> str:
    """The line that a person needs: nginx's [emerg], else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    worst = [line for line in lines if "[emerg]" in line or "[ALERT]" in line or "Error:" in line]
    return (worst or lines or ["it said nothing"])[0 if worst else -1][:300]
