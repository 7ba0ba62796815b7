"""The house's rules that a program can check: what lies where, how long things are, what stands in no file."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOT_NAMES = frozenset(
    {"pyproject.toml", "README.md", "authd", "nginx", "ipranges", "tests", "ansible"}
    | {"Makefile", "CHANGELOG.md", "LICENSE", "SECURITY.md", "docs", "bench", ".ci", ".gitignore", "requirements.lock"}
)
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
GENERATED = (".lock", "package-lock.json", "LICENSE", ".json")
EMPTY_NAMES = frozenset({"utils", "helpers", "common", "manager", "misc"})
# Paths of the machines on which this was written, and hosts of package registries.
FOREIGN = re.compile(r"(?<![\w.])/(?:work|root|tmp|home)/\w|registry\.npmjs\.org|files\.pythonhosted\.org")


def list_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def list_modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in (ROOT / package).rglob("*.py")]


def count_function_lines(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_the_root_holds_what_the_design_names_and_no_more() -> None:
    names = {path.relative_to(ROOT).parts[0] for path in list_files()}
    assert sorted(names - ROOT_NAMES) == []


def test_no_file_is_longer_than_a_reader_s_patience() -> None:
    written = [path for path in list_files() if not path.name.endswith(GENERATED)]
    lines = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in written}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


@pytest.mark.parametrize("package", ["authd", "ipranges"])
def test_functions_are_short(package: str) -> None:
    functions = dict(pair for path in list_modules(package) for pair in count_function_lines(path))
    if not functions:
        pytest.skip(f"{package} has no functions yet")
    assert {name: count for name, count in functions.items() if count > MAX_FUNCTION_LINES} == {}
    counts = sorted(functions.values())
    assert statistics.median(counts) < 10
    assert statistics.quantiles(counts, n=10)[-1] < 30


def test_modules_are_named_for_what_they_hold() -> None:
    modules = list_modules("authd", "ipranges", "tests", "bench")
    assert [str(path) for path in modules if path.stem in EMPTY_NAMES] == []


def test_no_file_names_a_machine_on_which_it_was_written() -> None:
    found = []
    for path in list_files():
        if path.suffix == ".lock" or path == Path(__file__):
            continue
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []


def test_every_decision_record_has_a_number_of_its_own() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [path.name[:4] for path in records]
    assert [path.name for path in records if numbers.count(path.name[:4]) > 1] == []
    assert [path.name for path in records if f" {path.name[:4]}" not in path.read_text().partition("\n")[0]] == []
