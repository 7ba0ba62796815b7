"""wrk, and what it says."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Load:
    """One measurement. `errors` counts answers that are neither 2xx nor 3xx; `expected` 401s are not errors."""

    requests_per_second: float
    errors: int


def run_wrk(port: int, *, host: str, seconds: int, cookie: str = "") -> Load:
    """Load `http://127.0.0.1:port/` from one thread. Raises RuntimeError if wrk fails."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {host}"]
    if cookie:
        command += ["-H", f"Cookie: {cookie}"]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}/d/abc"], check=False, capture_output=True, text=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if done.returncode or rate is None:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    broken = re.search(r"Socket errors: .*", done.stdout)
    return Load(float(rate[1]), int(errors[1] if errors else 0) + (1 if broken else 0))
