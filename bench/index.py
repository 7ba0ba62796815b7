"""The policy index with ten and with ten thousand applications: loading and deciding, each in a new process, and what a
worker of `authd serve` weighs."""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from authd.config import load_config
from authd.policy.index import build_index
from authd.sealing import load_sealer
from authd.state import open_store
from authd.worker import Worker
from bench.in_process import raw_headers, time_checks
from bench.installation import RULES, issue_tokens, run_installation, write_config
from bench.memory import read_pss_megabytes
from tests.harness.memory import find_memory_directory

FEW, MANY = 10, 10_000
# Issue 6: seconds until it is loaded, cost of a decision compared with ten, megabytes of a worker.
MOST_SECONDS, MOST_RATIO, MOST_MEGABYTES = 3.0, 1.2, 150
_CHECKS = 4_000


def measure_index(directory: Path, rounds: int, *, many: int = MANY) -> dict[str, Any]:
    """Medians over rounds; in each, both sizes."""
    with run_installation(directory / "index", applications=many) as installation:
        (worker,) = installation.find_workers()
        worker_mb = read_pss_megabytes(worker)
    pairs = [(_in_new_process(FEW), _in_new_process(many)) for _ in range(rounds)]
    ratios = [large["check_us"] / small["check_us"] for small, large in pairs]
    return {
        "applications": many,
        "rules": (many - 1) * RULES + 1,
        "load_seconds": round(median(large["load_seconds"] for _, large in pairs), 2),
        "few_us": round(median(small["check_us"] for small, _ in pairs), 1),
        "many_us": round(median(large["check_us"] for _, large in pairs), 1),
        "ratio": round(median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "worker_mb": worker_mb,
    }


def holds(found: dict[str, Any]) -> bool:
    """Whether it loads, decides and weighs as it must."""
    return bool(
        found["load_seconds"] <= MOST_SECONDS and found["ratio"] <= MOST_RATIO and found["worker_mb"] <= MOST_MEGABYTES
    )


def render_line(found: dict[str, Any]) -> str:
    """The result as a person reads it."""
    low, high = found["spread"]
    return (
        f"{found['applications']:,} applications, {found['rules']:,} rules: loaded in {found['load_seconds']} s "
        f"(at most {MOST_SECONDS:g}), a check {found['many_us']} µs, {found['ratio']:.2f} [{low:.2f} to {high:.2f}] "
        f"of one among {FEW} (at most {MOST_RATIO}), {found['worker_mb']} MB (at most {MOST_MEGABYTES})"
    )


def _in_new_process(applications: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=_measure_one, args=(applications, answers))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("a process of the measurement has failed; the figure would mean nothing")
    found: dict[str, float] = answers.get()
    return found


def _measure_one(applications: int, answers: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="authd-bench-", dir=find_memory_directory()) as name:
        path = write_config(Path(name), applications=applications)
        # Processor time: a busy machine loads no slower by it.
        began = time.process_time()
        build_index(load_config(path))
        load_seconds = time.process_time() - began
        answers.put({"load_seconds": load_seconds, **asyncio.run(_measure_checks(path))})


async def _measure_checks(path: Path) -> dict[str, float]:
    (token,) = await issue_tokens(path, 1)
    config = load_config(path)
    worker = Worker(config, store=open_store(config.state), sealer=load_sealer(Path(config.secret_file)))
    await worker.start()
    times = [await time_checks(worker, raw_headers(token), _CHECKS) for _ in range(7)]
    await worker.store.close()
    return {"check_us": min(times)}
