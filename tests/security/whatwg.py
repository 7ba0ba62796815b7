"""The WHATWG URL standard as Node implements it: the judge of where a browser would go. One process for any number."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from tests.harness.idp import NODE

_PROGRAM = """
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(cases.map(([text, base]) => {
  try { const url = new URL(text, base); return { origin: url.origin, href: url.href }; } catch { return null; }
})));
"""


def resolve_all(cases: Sequence[tuple[str, str]]) -> list[dict[str, str] | None]:
    """For each (Location, address of the page): `origin` and `href` of where it leads; None if it leads nowhere."""
    done = subprocess.run(
        [str(NODE), "-e", _PROGRAM],
        input=json.dumps(list(cases)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers: list[dict[str, str] | None] = json.loads(done.stdout)
    assert len(answers) == len(cases)
    return answers
