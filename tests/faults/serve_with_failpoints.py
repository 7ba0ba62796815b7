"""`authd serve` with every failpoint armed: `python -m tests.faults.serve_with_failpoints --config FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

import authd.idp.last_good
import authd.serve
import authd.sessions
from tests.faults.failpoints import arm, with_orders


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    arm()
    create_app = authd.serve.create_app
    setattr(authd.serve, "create_app", lambda *args, **kwargs: with_orders(create_app(*args, **kwargs)))  # noqa: B010
    # One session is remembered and no document of a provider is kept: requests pass the store and the provider too.
    authd.sessions.MAX_REMEMBERED = 1
    authd.idp.last_good.USABLE_SECONDS = 0
    authd.serve.serve(arguments.config)


if __name__ == "__main__":
    main()
