"""What the armed authd has written down about its cases (tests/faults/failpoints.py), read as it grows."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from threading import Lock


class FailpointLog:
    """Lines `CASE passed NAME` and `CASE failed NAME`. Each is read once, however many cases ask."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._rest = b""
        self._names: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        self._lock = Lock()

    def passed(self, case: str) -> list[str]:
        """The steps that a traced case went through, in their order, each once."""
        return self._find(case, "passed")

    def failed(self, case: str) -> list[str]:
        """The steps at which a case was made to fail."""
        return self._find(case, "failed")

    def close(self) -> None:
        self._file.close()

    def _find(self, case: str, word: str) -> list[str]:
        with self._lock:
            self._read_on()
            return list(self._names.get((case, word), ()))

    def _read_on(self) -> None:
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in whole:
            case, word, name = line.decode().split()
            self._names[case, word][name] = None
