"""`authd serve` that writes down each call of its store which a request causes; the upkeep's own are left out."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from authd.metrics_files import shared_metrics

METHODS = ("put", "put_if_absent", "find", "take", "count", "end", "cursor", "tombstones_since", "sweep", "size")
_is_upkeep: ContextVar[bool] = ContextVar("is_upkeep", default=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    with shared_metrics():
        import authd.serve
        from authd.state.sqlite import SqliteStore
        from authd.worker import Worker

        for name in METHODS:
            setattr(SqliteStore, name, _counted(name, getattr(SqliteStore, name)))
        for name in ("start", "run"):
            setattr(Worker, name, _as_upkeep(getattr(Worker, name)))
        authd.serve.serve(arguments.config)


def _counted(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_upkeep.get():
            with open(os.environ["AUTHD_STORE_CALLS"], "a") as file:
                file.write(f"{name}\n")
        return await method(*args, **kwargs)

    return call


def _as_upkeep(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(method)
    async def run(*args: Any) -> None:
        token = _is_upkeep.set(True)
        try:
            await method(*args)
        finally:
            _is_upkeep.reset(token)

    return run


if __name__ == "__main__":
    main()
