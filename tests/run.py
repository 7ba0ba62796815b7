"""Run pytest with these arguments: `python -m tests.run -n 2 --dist loadfile`.

Tests of the directories below wait for real processes, elections and cut links, with the limits that users are
promised. Two such tests beside each other on two cores can miss a limit that each keeps alone. The few that failed may
therefore try once more, alone, and are named; one that fails again has failed. Every other test has one try.
"""

from __future__ import annotations

import subprocess
import sys
import traceback
from typing import Any

import pytest

WITH_REAL_PROCESSES = tuple(
    f"tests/{name}/"
    for name in (
        "ansible",
        "contract",
        "demo",
        "faults",
        "idp",
        "ipranges",
        "lab",
        "nginx",
        "release",
        "stories",
        "tunnel",
    )
)
# More than this is no accident.
MOST_AGAIN = 12


class Failures:
    """A pytest plugin: what has failed so far, by its id."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called for each test's set-up, call and tear-down, from whichever process."""
        if report.failed:
            self.ids[report.nodeid] = None


def main(arguments: list[str]) -> int:
    """pytest's exit code."""
    failures = Failures()
    try:
        # A copy: pytest writes the options of pyproject.toml into the list that it is given.
        code = int(pytest.main(list(arguments), plugins=[failures]))
    except Exception:  # noqa: BLE001 - what a test that failed has left behind comes out at the very end
        traceback.print_exc()
        code = int(pytest.ExitCode.TESTS_FAILED if failures.ids else pytest.ExitCode.INTERNAL_ERROR)
    failed = list(failures.ids)
    if code != pytest.ExitCode.TESTS_FAILED or not may_try_again(failed):
        return code
    print(f"\n== alone, once more: {len(failed)} that failed beside other tests", *failed, sep="\n   ", flush=True)
    # A process of its own: nothing of the first run is left in it.
    command = [sys.executable, "-m", "pytest", "-n", "0", "-ra", *_find_mark(arguments), *failed]
    again = subprocess.run(command, check=False)
    if again.returncode == 0:
        print(f"\n== {len(failed)} passed alone only; if the same one is here again and again, mend it")
    return again.returncode


def _find_mark(arguments: list[str]) -> list[str]:
    """`-m lab`, without which its tests are left out."""
    place = arguments.index("-m") if "-m" in arguments else len(arguments)
    return arguments[place : place + 2]


def may_try_again(failed: list[str]) -> bool:
    """Whether these are few, and all of the kind that a busy machine can fail."""
    return 0 < len(failed) <= MOST_AGAIN and all(id_.startswith(WITH_REAL_PROCESSES) for id_ in failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
