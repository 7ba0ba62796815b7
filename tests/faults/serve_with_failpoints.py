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
    """Neither sessions nor what partners said: requests pass the store and the partners' calls as well.

    Nor does one case join the fetch of another one that is under way, and with it the fault that the other asked for.
    """
    import authd.evaluations
    import authd.idp.last_good
    import authd.issuers.key_source
    import authd.pin_mails
    import authd.providers
    import authd.sessions
    import authd.state.gathered_finds
    import authd.worker

    authd.sessions.Sessions._remember = lambda self, session: self._activity.forget(session.id)  # type: ignore[method-assign]
    authd.idp.last_good.USABLE_SECONDS = 0
    authd.evaluations.FRESH_SECONDS = authd.evaluations.KEYS_SECONDS = 0
    authd.issuers.key_source.FETCH_SECONDS = authd.worker.FETCH_SECONDS = 0
    authd.providers._REFETCH_SECONDS = 0
    authd.pin_mails._LONGEST_DELAY_MS = 1
    _let_each_case_look_for_keys(authd.issuers.key_source.KeySource)
    start = authd.idp.last_good.LastGood._start

    def start_alone(self: authd.idp.last_good.LastGood[Any]) -> asyncio.Task[Any]:
        self._running = None
        return start(self)

    authd.idp.last_good.LastGood._start = start_alone  # type: ignore[method-assign]
    # Look-ups of several visits would be one question, or wait for each other, and the fault of one visit be another's.
    authd.state.gathered_finds._PATIENCE_SECONDS = 0
    authd.state.gathered_finds._Question.takes = lambda *asked: False  # type: ignore[method-assign]


def _let_each_case_look_for_keys(source: Any) -> None:
    look_again = source._look_again

    async def look_alone(self: Any, token: Any) -> None:
        self._look = None
        await look_again(self, token)

    source._look_again = look_alone


if __name__ == "__main__":
    main()
