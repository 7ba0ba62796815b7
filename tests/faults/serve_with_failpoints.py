"""`authd serve` with every failpoint armed: `python -m tests.faults.serve_with_failpoints --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from authd.metrics_files import shared_metrics


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    with shared_metrics():
        _serve(arguments.config)


def _serve(config_path: Path) -> None:
    import authd.serve
    from tests.faults.failpoints import arm, with_orders

    arm()
    create_app = authd.serve.create_app
    setattr(authd.serve, "create_app", lambda *args, **kwargs: with_orders(create_app(*args, **kwargs)))  # noqa: B010
    _remember_nothing()
    authd.serve.serve(config_path)


def _remember_nothing() -> None:
    """Neither sessions nor documents of a provider: requests pass the store and the provider's calls as well.

    Nor does one case join the fetch of another one that is under way, and with it the fault that the other asked for.
    """
    import authd.idp.last_good
    import authd.sessions

    authd.sessions.Sessions._remember = lambda self, session: None  # type: ignore[method-assign]
    authd.idp.last_good.USABLE_SECONDS = 0
    start = authd.idp.last_good.LastGood._start

    def start_alone(self: authd.idp.last_good.LastGood[Any]) -> asyncio.Task[Any]:
        self._running = None
        return start(self)

    authd.idp.last_good.LastGood._start = start_alone  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
