"""The second try: for few tests, of those that wait for real processes, and no mercy for one that fails again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.run import MOST_AGAIN, _find_mark, may_try_again

FAILS_ONCE = """
from pathlib import Path

import pytest

@pytest.mark.slow
def test_passes_the_second_time():
    seen = Path(__file__).with_name("seen")
    is_first = not seen.exists()
    seen.touch()
    assert not is_first
"""
# pytest puts these before the options of the command line, and the last one counts.
OPTIONS = """[tool.pytest.ini_options]
addopts = "-m 'not slow'"
markers = ['slow']
"""
FAILS_ALWAYS = "import pytest\n\n@pytest.mark.slow\ndef test_fails():\n    assert False\n"


@pytest.mark.parametrize(
    ("failed", "may"),
    [
        (["tests/faults/test_redis.py::test_a"], True),
        (["tests/tunnel/test_cuts.py::test_a[3]"] * MOST_AGAIN, True),
        (["tests/tunnel/test_cuts.py::test_a[3]"] * (MOST_AGAIN + 1), False),
        (["tests/authd/test_access.py::test_a"], False),
        (["tests/security/test_open_redirects.py::test_a"], False),
        (["tests/faults/test_redis.py::test_a", "tests/authd/test_access.py::test_a"], False),
        ([], False),
    ],
)
def test_few_tests_with_real_processes_may_try_again(failed: list[str], may: bool) -> None:
    assert may_try_again(failed) is may


def test_the_second_try_keeps_the_mark() -> None:
    assert _find_mark(["-n", "2", "-m", "lab", "tests/lab"]) == ["-m", "lab"]
    assert _find_mark(["-n", "2"]) == []


@pytest.mark.parametrize(
    ("directory", "text", "code"),
    [("faults", FAILS_ONCE, 0), ("faults", FAILS_ALWAYS, 1), ("authd", FAILS_ONCE, 1)],
)
def test_the_second_try_counts(directory: str, text: str, code: int, tmp_path: Path) -> None:
    path = tmp_path / "tests" / directory / "test_it.py"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (tmp_path / "pyproject.toml").write_text(OPTIONS)
    runner = Path(__file__).with_name("run.py")
    without = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    command = [sys.executable, str(runner), *without, "-m", "slow", "tests"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("alone, once more" in done.stdout) is (directory == "faults")
