"""The directory in which the workers share their metrics, for as long as `authd serve` runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextlib.contextmanager
def shared_metrics() -> Iterator[None]:
    """Make the directory and name it in the environment.

    Enter it before anything imports prometheus_client, which looks at the variable once, when it is imported.
    """
    directory, master = tempfile.mkdtemp(prefix="authd-metrics-"), os.getpid()
    os.environ[VARIABLE] = directory
    try:
        yield
    finally:
        # Workers are forked within this frame and leave through it as well; the directory is the master's.
        if os.getpid() == master:
            shutil.rmtree(directory, ignore_errors=True)
