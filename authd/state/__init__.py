"""State: the one place where anything outlives a request. `open_store` picks the store by its URL."""

from __future__ import annotations

from pathlib import Path

from authd.config.redis_url import SCHEMES, parse_redis_url
from authd.state.base import DEADLINE_SECONDS, Store, Tombstone
from authd.state.sqlite import SqliteStore

__all__ = ["DEADLINE_SECONDS", "Store", "Tombstone", "open_store"]


def open_store(state_url: str, *, may_create: bool = True) -> Store:
    """Open the store of the setting `state`. Raises StoreError if it cannot be used, ValueError for what is no setting.

    A file is opened at once, and made only with `may_create`; Redis is connected to when it is first used.
    """
    scheme, _, rest = state_url.partition(":")
    if scheme == "sqlite":
        return SqliteStore(Path(rest), may_create=may_create)
    if scheme in SCHEMES:
        # Reading the library takes as long as all of ours; who keeps a file does without.
        from authd.state.redis import RedisStore

        return RedisStore(parse_redis_url(state_url))
    raise ValueError(f"state: no store for the scheme {scheme}")
