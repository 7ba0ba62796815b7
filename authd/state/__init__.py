"""State: the one place where anything outlives a request. `open_store` picks the store by its URL."""

from __future__ import annotations

from pathlib import Path

from authd.state.base import DEADLINE_SECONDS, Store, Tombstone
from authd.state.sqlite import SqliteStore

__all__ = ["DEADLINE_SECONDS", "Store", "Tombstone", "open_store"]


def open_store(state_url: str, *, may_create: bool = True) -> Store:
    """Open the store of the setting `state`. Raises StoreError if it cannot be used, ValueError for an unknown
    scheme. Only with `may_create` is a store made that is not there."""
    scheme, _, rest = state_url.partition(":")
    if scheme == "sqlite":
        return SqliteStore(Path(rest), may_create=may_create)
    raise ValueError(f"state: no store for the scheme {scheme}")
