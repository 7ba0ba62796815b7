"""What a run needs from the world, handed in so that nothing has to be patched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a run needs from the world. `environment` is the process's."""

    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def now(self) -> int:
        return int(self.clock())
