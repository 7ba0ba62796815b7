"""How long a list takes from its body to the kernel and to nginx' file: `python -m bench.ipranges`.

Each measurement is a process of its own in a network namespace of its own, so that memory is one run's and
nothing touches the machine's firewall. Needs root, nftables and nginx; says so and ends with 0 where they lack.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from ipranges.config import parse_config
from ipranges.runtime import Runtime
from ipranges.sync import RunReport, sync

RESULTS = Path(__file__).parent / "results"
SIZES = (2_000, 100_000)
# What must hold (issue 4): seconds from body to installed, and MB of the largest process.
MOST_SECONDS = {2_000: 0.5, 100_000: 3.0}
MOST_MEGABYTES = 200
CONFIG = """\
state_dir: {here}/state
sources: [{{name: big, type: url, url: "http://127.0.0.1:{port}/", retries: 0}}]
targets:
  - {{type: nftables, ports: [443], sources: [big]}}
  - {{type: nginx-geo, path: {here}/edge.conf, sources: [big], test: [], reload: []}}
"""


def main() -> int:
    """Print a table and write the JSON beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--assert", dest="must_hold", action="store_true", help="fail where a figure does not hold")
    parser.add_argument("--one", type=int, metavar="SIZE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    found = measure_ipranges(options.rounds)
    if not found:
        print("ipranges: not measured; needs root, `ip netns`, nft and nginx")
        return 0
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ipranges.json").write_text(json.dumps(found, indent=1) + "\n")
    for line in found:
        print(render_line(line))
    return 1 if options.must_hold and not all(map(holds, found)) else 0


def render_line(line: dict[str, Any]) -> str:
    """One measurement as a person reads it."""
    return (
        f"ipranges, {line['prefixes']:>7,} prefixes: installed in {line['seconds']:.2f} s "
        f"(best {line['best_seconds']:.2f}), nothing new in {line['again_seconds']:.2f} s; "
        f"peak {line['megabytes']} MB, nft {line['children_megabytes']} MB"
    )


def measure_ipranges(rounds: int = 3) -> list[dict[str, Any]]:
    """A line for each size; the median over the rounds, and the best, which other work disturbs least."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "nginx"))):
        return []
    lines = []
    for size in SIZES:
        runs = [_measure_apart(size) for _ in range(rounds)]
        seconds = [run["seconds"] for run in runs]
        line = {"prefixes": size, "seconds": median(seconds), "best_seconds": min(seconds)}
        for key in ("again_seconds", "megabytes", "children_megabytes"):
            line[key] = median(run[key] for run in runs)
        lines.append(line)
    return lines


def holds(line: dict[str, Any]) -> bool:
    """Whether a line keeps what issue 4 promises."""
    memory = max(line["megabytes"], line["children_megabytes"])
    return bool(line["best_seconds"] <= MOST_SECONDS[line["prefixes"]] and memory <= MOST_MEGABYTES)


def _measure_apart(size: int) -> dict[str, Any]:
    name = f"bench{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "bench.ipranges", "--one", str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout))
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def measure(size: int) -> dict[str, Any]:
    """One first run and one with nothing new, in the namespace that we are in."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _build_handler(_render_list(size)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="ipranges-bench-") as here:
        config = parse_config(CONFIG.format(here=here, port=server.server_address[1]), source="bench")
        seconds, report = _time(lambda: sync(config, Runtime()))
        assert report.exit_code == 0, report
        before = (Path(here) / "edge.conf").stat().st_mtime_ns
        again, report = _time(lambda: sync(config, Runtime()))
        assert (report.exit_code, (Path(here) / "edge.conf").stat().st_mtime_ns) == (0, before)
    return {
        "seconds": seconds,
        "again_seconds": again,
        "megabytes": _read_peak_megabytes(),
        "children_megabytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
    }


def _read_peak_megabytes() -> int:
    """Of this program alone: `ru_maxrss` also knows how large the process was that started it."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) // 1024


def _time(work: Any) -> tuple[float, RunReport]:
    started = time.perf_counter()
    report = work()
    return round(time.perf_counter() - started, 3), report


def _render_list(size: int) -> bytes:
    """Random public /24 and /48, shuffled, a tenth of them IPv6."""
    chance = random.Random(4)
    v4 = chance.sample(range(0x0B0000, 0x600000), size - size // 10)
    v6 = chance.sample(range(1 << 20), size // 10)
    lines = [f"{n >> 16}.{n >> 8 & 255}.{n & 255}.0/24" for n in v4] + [f"2a00:{n >> 8:x}:{n & 255:x}::/48" for n in v6]
    chance.shuffle(lines)
    return "\n".join(lines).encode()


def _build_handler(body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Nothing: the table is what is printed."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


if __name__ == "__main__":
    sys.exit(main())
