"""What the check adds to an answer at half of authd's own uncached maximum: a constant rate, paired differences.

Each pair loads the unprotected page and the protected one with the same rate, one right after the other, in turns the
other way round; the figure is the median of the differences of their percentiles. The generator has a core of its own,
since on one that it shares with nginx a good part of what the slowest answers take is its own; but not where authd is
asked each time: nginx and authd want more than the core that would be left.
"""

from __future__ import annotations

from contextlib import nullcontext
from statistics import median
from typing import Any

from bench.cores import keep_apart
from bench.installation import HOST, Installation
from bench.rate import run_at_rate

PERCENTILES = (50.0, 99.0, 99.9)
# What the 99th percentile may add, in microseconds (issue 6).
MOST_ADDED, AIM_ADDED = 1_000, 300
# Many short turns: a machine that stands still for some milliseconds spoils the turn in which it does.
SECONDS = 1


def measure_latency(protected: dict[str, Installation], *, most_per_second: float, pairs: int) -> list[dict[str, Any]]:
    """Microseconds that each protected installation adds, for each percentile."""
    rate = most_per_second / 2
    found = []
    for name, installation in protected.items():
        with keep_apart() if name == "cached" else nullcontext():
            found.append(_summarise(name, rate, [_measure_pair(installation, rate, turn) for turn in range(pairs)]))
    return found


def holds(line: dict[str, Any]) -> bool:
    """Whether the check adds no more than it may; demanded of the cached case alone."""
    return line["case"] != "cached" or bool(line["added_us"]["99"] <= MOST_ADDED)


def render_line(line: dict[str, Any]) -> str:
    """One measurement as a person reads it."""
    added = ", ".join(f"p{name} {line['added_us'][name]:+,} µs" for name in line["added_us"])
    low, high = line["spread_p99_us"]
    demand = f" (p99 at most {MOST_ADDED:,}, aim {AIM_ADDED})" if line["case"] == "cached" else ""
    return (
        f"the check adds, {line['case']}, at {line['per_second']:,} requests/s: {added}; p99 [{low:+,} to {high:+,}]"
        f"{demand}; unprotected p99 {line['plain_p99_us']:,} µs"
    )


def _measure_pair(installation: Installation, rate: float, turn: int) -> dict[str, list[int]]:
    ports = {
        "plain": (installation.plain_port, installation.cookie),
        "protected": (installation.port, installation.cookie),
    }
    order = list(ports) if turn % 2 == 0 else list(reversed(ports))
    return {
        name: run_at_rate(ports[name][0], host=HOST, per_second=rate, seconds=SECONDS, cookie=ports[name][1])
        for name in order
    }


def _summarise(name: str, rate: float, pairs: list[dict[str, list[int]]]) -> dict[str, Any]:
    added = {
        f"{percent:g}": [
            _percentile(pair["protected"], percent) - _percentile(pair["plain"], percent) for pair in pairs
        ]
        for percent in PERCENTILES
    }
    return {
        "case": name,
        "per_second": round(rate),
        "added_us": {percent: round(median(values)) for percent, values in added.items()},
        "spread_p99_us": [min(added["99"]), max(added["99"])],
        "plain_p99_us": round(median(_percentile(pair["plain"], 99.0) for pair in pairs)),
    }


def _percentile(ordered: list[int], percent: float) -> int:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
