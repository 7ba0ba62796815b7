"""What `authd serve` hands from its master to its workers: the last configuration that was good, whole.

Whole means with what stands in other files too, as it was when the master looked: lists of addresses are part of a
`Config`, and the clients' secrets go beside it. A worker reads nothing from the disk, so that a file that went bad
later can neither stop the worker that runs nor the one that takes a dead one's place.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from authd.config import Config

_HEADER = struct.Struct("<QQ32s")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and the client secret of each of its identity providers; None for a public client."""

    config: Config
    client_secrets: Mapping[str, str | None]


class ConfigSlot:
    """Memory that master and workers share: a value with a number that grows.

    Written by the master only. A reader that looks while it is written sees a checksum that does not fit, and looks
    again later.
    """

    def __init__(self, loaded: LoadedConfig) -> None:
        self._descriptor = os.memfd_create("authd-config")
        self._generation = 0
        self._read_generation = 0
        self.write(loaded)

    def write(self, loaded: LoadedConfig) -> None:
        """Put a new value into the slot."""
        content = pickle.dumps(loaded)
        self._generation += 1
        os.pwrite(self._descriptor, content, _HEADER.size)
        header = _HEADER.pack(self._generation, len(content), hashlib.sha256(content).digest())
        os.pwrite(self._descriptor, header, 0)

    def read(self) -> LoadedConfig:
        """The value that stands there. Call it once at start, then `find_new`."""
        while (found := self.find_new()) is None:
            pass
        return found

    def find_new(self) -> LoadedConfig | None:
        """The value if it was written since this process last read one."""
        generation, length, digest = _HEADER.unpack(os.pread(self._descriptor, _HEADER.size, 0))
        if generation == self._read_generation:
            return None
        content = os.pread(self._descriptor, length, _HEADER.size)
        if hashlib.sha256(content).digest() != digest:
            return None
        self._read_generation = generation
        # The memory has no name and its descriptor never leaves our processes: nobody else can have written this.
        loaded: LoadedConfig = pickle.loads(content)  # noqa: S301
        return loaded

    def close(self) -> None:
        """Let go of the memory."""
        os.close(self._descriptor)
