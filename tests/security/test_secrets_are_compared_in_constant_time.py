"""No secret is compared with `==`, `!=` or `in`: the time that takes tells how much of a guess was right.

Read from the syntax tree of all of authd. What is a secret is told by its name, as everywhere in this house.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import authd

SOURCES = sorted(Path(authd.__file__).parent.rglob("*.py"))
# Whole words of a name, between underscores.
SECRETS = frozenset(("secret", "secrets", "mac", "macs", "password", "pin", "signature", "nonce", "state", "verifier"))
_COMPARISONS = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)


def words_of(node: ast.expr) -> frozenset[str]:
    """The words of what is compared, by the name that it is reached by."""
    while isinstance(node, ast.Subscript | ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        return words_of(node.func)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    # A constant of the source, such as SECRET_BYTES, is no secret.
    return frozenset() if name.isupper() else frozenset(name.lower().strip("_").split("_"))


def is_constant(node: ast.expr) -> bool:
    """A comparison with what stands in the source tells nobody anything."""
    parts = node.elts if isinstance(node, ast.Tuple | ast.Set | ast.List) else [node]
    return all(isinstance(part, ast.Constant) for part in parts)


def find_comparisons(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each comparison that takes as long as a guess is right."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        for at, operator in enumerate(node.ops):
            pair = sides[at], sides[at + 1]
            is_secret = any(words_of(side) & SECRETS for side in pair)
            if isinstance(operator, _COMPARISONS) and is_secret and not any(map(is_constant, pair)):
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_secrets_are_compared_with_compare_digest(path: Path) -> None:
    assert list(find_comparisons(path.read_text())) == []


@pytest.mark.parametrize(
    "planted",
    [
        "if given == client_secret: pass",
        "if token.mac != expected: pass",
        "x = given in self._secrets",
        "if attempt.state == unverified_state: pass",
        "if derive_mac(a) == b: pass",
        "assert document['x'] and kept.pin == typed",
    ],
)
def test_a_planted_comparison_is_found(planted: str) -> None:
    assert len(list(find_comparisons(planted))) == 1


@pytest.mark.parametrize("harmless", ["if secret is None: pass", "x = secret == ''", "hmac.compare_digest(a, secret)"])
def test_what_tells_nobody_anything_is_not(harmless: str) -> None:
    assert list(find_comparisons(harmless)) == []
