"""Property tests: no deadline, since the machine may be busy; in CI the same examples every time."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("authd", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("authd")
