"""gunicorn's messages, as JSON lines among ours."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger


class GunicornLogger(Logger):  # type: ignore[misc]
    """Sends gunicorn's error log through the root logger, which `audit.configure_logging` has set up."""

    def setup(self, cfg: Any) -> None:
        """See the class."""
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self.access_log.handlers[:] = []
