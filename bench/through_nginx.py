"""Requests a second through nginx, with and without authd: every case in each round, ratios within a round.

One nginx worker and one authd worker, so that a ratio is one of processor time on two cores.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.installation import HOST, Installation, run_installation
from bench.load import PATH, Load, run_wrk, write_requests_in_turn

URLS = SESSIONS = MANY = 10_000
FEW = 10
# Of those that no worker has seen there are more than are asked for: one that comes twice is seen before.
UNSEEN = 20_000
_UNSEEN_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table. `base` is the case that it is compared with; `least` and `aim` as issue 6 has them."""

    name: str
    what: str
    run: Callable[[int], Load]
    base: str = "unprotected"
    least: float = 0.0
    aim: float | None = None
    prepare: Callable[[], None] = lambda: None


@contextmanager
def running_cases(directory: Path) -> Iterator[tuple[list[Case], dict[str, Installation]]]:
    """Start the installations that the cases need, all at once: each case is measured in each round."""
    with ExitStack() as stack:

        def start(name: str, **settings: Any) -> Installation:
            print(f"starting {name} ...", file=sys.stderr, flush=True)
            return stack.enter_context(run_installation(directory / name, **settings))

        uncached = start("uncached", sessions=UNSEEN)
        cached = start("cached", decision_cache_seconds=1)
        many = start("many", applications=MANY)
        everybody = start("everybody", sessions=UNSEEN, workers=os.cpu_count() or 1)
        installations = {"uncached": uncached, "cached": cached, "many": many, "everybody": everybody}
        yield list_cases(directory, uncached, cached, many, everybody), installations


def list_cases(
    directory: Path, uncached: Installation, cached: Installation, many: Installation, everybody: Installation
) -> list[Case]:
    """In the order in which they are measured. `everybody` has a worker for each core."""
    urls = [(f"/d/{number}", cached.cookie) for number in range(URLS)]
    distinct = write_requests_in_turn(directory, "distinct", HOST, urls)
    return [
        # The same request as behind the gate: a visitor's cookies are read whether anybody is asked or not.
        Case("unprotected", "no protection", _load(uncached.plain_port, uncached.cookie)),
        Case("floor", "auth_request, answered by nginx itself with 204", _load(uncached.floor_port, uncached.cookie)),
        Case("hot", "hot page, decision cached by nginx", _load(cached.port, cached.cookie), "floor", 0.65, 0.80),
        Case(
            "distinct",
            f"{URLS:,} distinct URLs of one host, cached",
            _load(cached.port, script=distinct),
            "floor",
            0.65,
            0.80,
        ),
        Case("uncached", "authd asked each time", _load(uncached.port, uncached.cookie), "unprotected", 0.38, 0.50),
        Case("many", f"{MANY:,} applications, uncached", _load(many.port, many.cookie), "uncached", 0.85, 1.0),
        Case("anonymous", "anonymous: check, challenge, redirect to the login", _load(uncached.port)),
        *_list_cases_of_one_worker(directory, uncached),
        *_list_cases_of_all_cores(directory, everybody),
    ]


def _list_cases_of_one_worker(directory: Path, uncached: Installation) -> list[Case]:
    """It has seen nobody, everybody, and nobody again."""
    visitors = [(PATH, f"CF_AUTHORIZATION={token}") for token in uncached.tokens[:SESSIONS]]
    in_turn = write_requests_in_turn(directory, "in-turn", HOST, visitors)

    def begin_anew() -> None:
        restart_workers(uncached)

    return [
        Case(
            "cold, one worker",
            "sessions in turn, to one worker, which has seen none",
            _load_unseen(directory, "unseen-by-one", uncached),
            "uncached",
            prepare=begin_anew,
        ),
        Case(
            "in turn", f"{SESSIONS:,} sessions in turn, seen before", _load(uncached.port, script=in_turn), "uncached"
        ),
        Case(
            "restarted",
            "the first seconds of a new worker",
            _load(uncached.port, uncached.cookie),
            "uncached",
            prepare=begin_anew,
        ),
    ]


def _list_cases_of_all_cores(directory: Path, everybody: Installation) -> list[Case]:
    return [
        Case(
            "uncached, all cores",
            "authd asked each time, with a worker for each core",
            _load(everybody.port, everybody.cookie),
        ),
        Case(
            "cold",
            "sessions in turn, to a worker for each core, none of which has seen any",
            _load_unseen(directory, "unseen-by-all", everybody),
            "uncached, all cores",
            0.25,
            0.40,
            lambda: restart_workers(everybody),
        ),
    ]


def _load(port: int, cookie: str = "", script: Path | None = None) -> Callable[[int], Load]:
    return lambda seconds: run_wrk(port, host=HOST, seconds=seconds, cookie=cookie, script=script)


def _load_unseen(directory: Path, name: str, installation: Installation) -> Callable[[int], Load]:
    """For as long as there are sessions that have not come yet, whatever a case is loaded for."""
    visitors = [(PATH, f"CF_AUTHORIZATION={token}") for token in installation.tokens]
    script = write_requests_in_turn(directory, name, HOST, visitors)
    return lambda _: _refuse_seen(run_wrk(installation.port, host=HOST, seconds=_UNSEEN_SECONDS, script=script))


def restart_workers(installation: Installation) -> None:
    """End all workers, and wait until as many new ones of the master's serve."""
    old = set(installation.find_workers())
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while not old.isdisjoint(installation.find_workers()) or not _answers(installation, len(old)):
        if time.monotonic() > deadline:
            raise RuntimeError("authd's workers did not come back")
        time.sleep(0.1)


def _refuse_seen(load: Load) -> Load:
    """Each session once, or the figure would tell of something else."""
    if load.requests > UNSEEN:
        raise SystemExit(
            f"{load.requests} sessions were asked for in turn, and there are {UNSEEN}: some were seen twice"
        )
    return load


def _answers(installation: Installation, workers: int) -> bool:
    load = run_wrk(installation.port, host=HOST, seconds=1)
    return load.requests > 0 and not load.errors and len(installation.find_workers()) == workers


def run_round(cases: list[Case], seconds: int, number: int) -> dict[str, float]:
    """Requests a second of each case. Exits where an answer was an error: the figure would mean nothing."""
    print(f"round {number + 1}: ", end="", file=sys.stderr, flush=True)
    rates = {}
    for case in cases:
        case.prepare()
        load = case.run(seconds)
        if load.errors:
            raise SystemExit(f"{case.name}: {load.errors} answers were errors; the figure would mean nothing")
        rates[case.name] = load.requests_per_second
        print(f"{case.name} {load.requests_per_second:,.0f}/s  ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rates


def summarise(rounds: list[dict[str, float]], cases: list[Case]) -> list[dict[str, Any]]:
    """A row for each case: the ratio to its base in each round, and what of it must hold."""
    rows = []
    for case in cases:
        ratios = [rates[case.name] / rates[case.base] for rates in rounds]
        rows.append(
            {
                "case": case.name,
                "what": case.what,
                "requests_per_second": round(median(rates[case.name] for rates in rounds)),
                "of": case.base,
                "ratio": round(median(ratios), 3),
                "spread": [round(min(ratios), 3), round(max(ratios), 3)],
                "least": case.least,
                "aim": case.aim,
            }
        )
    return rows


def holds(row: dict[str, Any]) -> bool:
    """Whether a case is as fast as it must be."""
    return bool(row["ratio"] >= row["least"])


def render_row(row: dict[str, Any]) -> str:
    """One line of the table."""
    low, high = row["spread"]
    ratio = "" if row["case"] == row["of"] else f"{row['ratio']:.2f} [{low:.2f} to {high:.2f}] of {row['of']}"
    least = f"{row['least']:.2f}" if row["least"] else ""
    aim = f"{row['aim']:.2f}" if row["aim"] else ""
    return f"| {row['what']} | {row['requests_per_second']:,} | {ratio} | {least} | {aim} |"
