"""`authd serve` with every failpoint armed: `python -m tests.faults.serve_with_failpoints --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import authd.idp.last_good
import authd.serve
import authd.sessions
from authd.idp.last_good import LastGood
from tests.faults.failpoints import arm, with_orders


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    arm()
    create_app = authd.serve.create_app
    setattr(authd.serve, "create_app", lambda *args, **kwargs: with_orders(create_app(*args, **kwargs)))  # noqa: B010
    # No session is remembered and no document of a provider is kept: requests pass the store and the provider too.
    authd.sessions.Sessions._remember = lambda self, session: None  # type: ignore[method-assign]
    authd.idp.last_good.USABLE_SECONDS = 0
    _let_nobody_join_a_fetch()
    authd.serve.serve(arguments.config)


def _let_nobody_join_a_fetch() -> None:
    """A fault that one case asked for must not happen to another one that is under way."""
    start = LastGood._start

    def start_alone(self: LastGood[Any]) -> asyncio.Task[Any]:
        self._running = None
        return start(self)

    LastGood._start = start_alone  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
