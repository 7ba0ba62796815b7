"""`python -m bench`: what authd costs, in one table and one JSON file, and whether what the issues demand holds."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import disturbances, index, ipranges, latency, logins, memory, sessions, through_nginx, tunnel
from bench.in_process import measure_check
from bench.peers import measure as peers
from tests.harness.memory import find_memory_directory

RESULTS = Path(__file__).parent / "results"
# What a check of a remembered token may cost in process (issue 2), in microseconds of processor time.
MOST_CHECK_MICROSECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result: as text, and whether what is demanded holds."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is measured by itself. What it finds stands under `name` in the JSON file."""

    name: str
    measure: Callable[[argparse.Namespace, Path], Any]
    judge: Callable[[Any], list[Figure]]


def main() -> int:
    """Measure, print the table, write the JSON."""
    options = _parse_options()
    # Whoever ends it must not find its servers, which run beside it, a day later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    RESULTS.mkdir(exist_ok=True)
    result: dict[str, Any] = {"rounds": options.rounds, "seconds": options.seconds}
    figures: list[Figure] = []
    for part in PARTS:
        if options.only and part.name not in options.only:
            continue
        print(f"== {part.name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="authd-bench-", dir=find_memory_directory()) as name:
            found = result[part.name] = part.measure(options, Path(name))
        figures += part.judge(found)
        # After each part: a run of half an hour that is broken off has said something.
        (RESULTS / "latest.json").write_text(json.dumps(result, indent=2) + "\n")
    print("\n".join(figure.text for figure in figures))
    missed = [figure.text for figure in figures if not figure.holds]
    for text in missed:
        print(f"below what is demanded: {text}", file=sys.stderr)
    return 1 if missed and options.must_hold else 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="how long each case is loaded in each round")
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="this part; repeatable")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        type=peers.parse_peer,
        metavar="NAME=PATH",
        help=f"where one of {', '.join(peers.PEERS)} is, if not on PATH; repeatable",
    )
    parser.add_argument("--assert", dest="must_hold", action="store_true", help="exit 1 below what the issues demand")
    return parser.parse_args()


def _measure_nginx(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    with through_nginx.running_cases(directory) as (cases, installations):
        rounds = [through_nginx.run_round(cases, options.seconds, number) for number in range(options.rounds)]
        added = latency.measure_latency(
            {"cached": installations["cached"], "uncached": installations["uncached"]},
            most_per_second=median(rates["uncached"] for rates in rounds),
            pairs=6 * options.rounds,
        )
        (typical, least) = measure_check(installations["uncached"].config_path, installations["uncached"].tokens[0])
    return {
        "cases": through_nginx.summarise(rounds, cases),
        "latency": added,
        "check_in_process_us": {"median": round(typical, 1), "minimum": round(least, 1)},
    }


def _judge_nginx(found: dict[str, Any]) -> list[Figure]:
    head = [
        Figure("| case | requests/s | ratio within a round [spread] | at least | aim |", True),
        Figure("| --- | ---: | --- | ---: | ---: |", True),
    ]
    rows = [Figure(through_nginx.render_row(row), through_nginx.holds(row)) for row in found["cases"]]
    lines = [Figure(latency.render_line(line), latency.holds(line)) for line in found["latency"]]
    check = found["check_in_process_us"]
    text = f"check in process, remembered token: {check['median']} µs (best {check['minimum']})"
    return [*head, *rows, Figure("", True), *lines, Figure(text, check["median"] <= MOST_CHECK_MICROSECONDS)]


def _measure_peers(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    return peers.measure_peers(directory, options.rounds, options.seconds, dict(options.peer))


def _judge_peers(found: dict[str, Any]) -> list[Figure]:
    """Nothing is demanded of others."""
    return [Figure("", True), *(Figure(line, True) for line in peers.render_lines(found))]


def _judge_all(module: Any) -> Callable[[Any], list[Figure]]:
    """For a part of one line, or of several."""

    def judge(found: Any) -> list[Figure]:
        lines = found if isinstance(found, list) else [found] if found else []
        return [Figure(module.render_line(line), module.holds(line)) for line in lines]

    return judge


PARTS = (
    Part("nginx", _measure_nginx, _judge_nginx),
    Part("peers", _measure_peers, _judge_peers),
    Part("disturbances", lambda options, there: disturbances.measure_disturbances(there), _judge_all(disturbances)),
    Part("index", lambda options, there: index.measure_index(there, min(options.rounds, 3)), _judge_all(index)),
    Part("memory", lambda options, there: memory.measure_memory(there), _judge_all(memory)),
    Part("sessions", lambda options, there: sessions.measure_sessions(options.rounds), _judge_all(sessions)),
    Part("logins", lambda options, there: logins.measure_logins(min(options.rounds, 3)), _judge_all(logins)),
    Part("ipranges", lambda options, there: ipranges.measure_ipranges(min(options.rounds, 3)), _judge_all(ipranges)),
    Part("tunnel", lambda options, there: tunnel.measure_tunnel(min(options.rounds, 3)), _judge_all(tunnel)),
)


if __name__ == "__main__":
    sys.exit(main())
