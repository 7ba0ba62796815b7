"""The check without HTTP: what authd itself costs for a token that it remembers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

from authd.config import load_config
from authd.resources.nginx_request import NginxHeaders, parse_check_request
from authd.sealing import load_sealer
from authd.state import open_store
from authd.worker import Worker
from bench.installation import HOST

CHECKS = 20_000
ROUNDS = 7


def measure_check(config_path: Path, token: str) -> tuple[float, float]:
    """Microseconds of one check (median, minimum over the rounds), from nginx' raw headers to the verdict."""
    return asyncio.run(_measure(config_path, token))


async def _measure(config_path: Path, token: str) -> tuple[float, float]:
    config = load_config(config_path)
    worker = Worker(config, store=open_store(config.state), sealer=load_sealer(Path(config.secret_file)))
    await worker.start()
    rounds = [await time_checks(worker, raw_headers(token), CHECKS) for _ in range(ROUNDS)]
    await worker.store.close()
    return median(rounds), min(rounds)


async def time_checks(worker: Worker, raw: list[tuple[bytes, bytes]], count: int) -> float:
    """Microseconds of processor time of one check, from nginx' raw headers to the verdict."""
    began = time.process_time()
    for _ in range(count):
        await worker.access.check(parse_check_request(NginxHeaders(raw)))
    return (time.process_time() - began) / count * 1e6


def raw_headers(token: str) -> list[tuple[bytes, bytes]]:
    """What nginx asks for a visitor who brings this token."""
    return [
        (b"host", b"authd"),
        (b"x-original-method", b"GET"),
        (b"x-original-url", f"http://{HOST}/d/abc".encode()),
        (b"x-original-path", b"/d/abc"),
        (b"x-real-ip", b"127.0.0.1"),
        (b"x-request-id", b"0" * 32),
        (b"cookie", f"CF_AUTHORIZATION={token}".encode()),
        (b"x-authd-app", b"grafana"),
        (b"x-authd-scope", HOST.encode()),
        (b"x-authd-session", token.encode()),
    ]
