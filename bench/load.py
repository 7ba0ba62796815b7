"""wrk, and what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32
# What a page is asked for, where nothing else is said.
PATH = "/d/abc"
# A page that asks in the background is refused by 401; a person is sent to the login, and wrk takes a 302 for good.
_NO_REDIRECT = "X-Requested-With: bench"

_REQUESTS_IN_TURN = """
local requests, number = {}, 0
for line in io.lines("%s") do
  local path, cookie = line:match("^(%%S+) ?(.*)$")
  local headers = {Host = "%s", ["X-Requested-With"] = "bench"}
  if cookie ~= "" then headers["Cookie"] = cookie end
  requests[#requests + 1] = wrk.format("GET", path, headers)
end
request = function()
  number = number %% #requests + 1
  return requests[number]
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One measurement. `errors` counts answers that are neither 2xx nor 3xx, and broken connections."""

    requests_per_second: float
    errors: int
    requests: int


def run_wrk(port: int, *, host: str, seconds: float, cookie: str = "", script: Path | None = None) -> Load:
    """Load `http://127.0.0.1:port/` from one thread. Raises RuntimeError if wrk fails."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {host}"]
    if cookie:
        command += ["-H", f"Cookie: {cookie}", "-H", _NO_REDIRECT]
    if script:
        command += ["-s", str(script)]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{PATH}"], check=False, capture_output=True, text=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    count = re.search(r"(\d+) requests in", done.stdout)
    if done.returncode or rate is None or count is None:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    errors = int(refused[1] if refused else 0) + (sum(map(int, broken.groups())) if broken else 0)
    return Load(float(rate[1]), errors, int(count[1]))


def write_requests_in_turn(directory: Path, name: str, host: str, requests: Sequence[tuple[str, str]]) -> Path:
    """A script for `run_wrk` that asks for these (path, cookie or "") in turn, each rendered once before the load."""
    listed, script = directory / f"{name}.txt", directory / f"{name}.lua"
    listed.write_text("".join(f"{path} {cookie}\n" for path, cookie in requests))
    script.write_text(_REQUESTS_IN_TURN % (listed, host))
    return script
