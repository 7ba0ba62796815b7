"""`authd state migrate`: two addresses of stores to a copy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from authd.config.mistakes import SettingError
from authd.config.readers import read_state
from authd.errors import ConfigError, ConfigMistake, StoreUnfitError
from authd.state import open_store
from authd.state.migrate import Migrated, migrate


def migrate_state(source_url: str, target_url: str, *, on_progress: Callable[[int], None]) -> Migrated:
    """Raises ConfigError for what is no address of a store, StoreError as `migrate` does."""
    source, target = _read("--from", source_url), _read("--to", target_url)
    scheme, _, path = source.partition(":")
    if scheme == "sqlite" and not Path(path).is_file():
        raise StoreUnfitError(f"{path}: there is no such store to copy from")

    async def run() -> Migrated:
        reading = open_store(source)
        try:
            writing = open_store(target)
            try:
                return await migrate(reading, writing, now=int(time.time()), on_progress=on_progress)
            finally:
                await writing.close()
        finally:
            await reading.close()

    return asyncio.run(run())


def _read(option: str, url: str) -> str:
    try:
        return read_state(url)
    except SettingError as error:
        mistake = ConfigMistake(0, option, error.message, error.value or "", error.allowed)
        raise ConfigError("command line", (mistake,)) from None
