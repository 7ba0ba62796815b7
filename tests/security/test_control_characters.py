"""A visitor's headers with control characters: nginx passes them to authd, whose parser reads none of them.

The visitor is refused, the application sees nothing, authd is not called down, and its log is not theirs to fill.
"""

from __future__ import annotations

import pytest

from tests.security.wire import Visitor

HOST = "grafana.test"
# Those that the check is told; the first two are not in the key of a decision that nginx remembers.
NAMES = ["Cookie", "Origin", "Cf-Access-Token", "Cf-Access-Client-Id", "Authorization", "Cf-Access-Jwt-Assertion"]


@pytest.mark.parametrize("byte", ["\x01", "\x07", "\x0b", "\x1b", "\x7f"])
def test_whoever_sends_one_is_refused(alice: Visitor, nobody: Visitor, byte: str) -> None:
    before = len(alice.stack.log_text)
    for visitor, names in ((nobody, NAMES), (alice, NAMES[2:])):
        for name in names:
            reached = alice.stack.application.count
            answer = visitor.ask(HOST, "/", [(name, f"a={byte}b")])
            assert answer is not None
            assert (answer.status, alice.stack.application.count) == (400, reached), name
    assert '"level": "error"' not in alice.stack.log_text[before:]


@pytest.mark.parametrize("name", ["User-Agent", "Accept", "Sec-Fetch-Mode"])
def test_what_the_check_is_not_told_keeps_nobody_out(alice: Visitor, nobody: Visitor, name: str) -> None:
    before = len(alice.stack.log_text)
    assert alice.reaches(HOST, "/", [(name, "\x07")]) == "/"
    answer = nobody.ask(HOST, "/", [(name, "\x07")])
    assert answer is not None
    assert answer.status == 400
    assert '"level": "error"' not in alice.stack.log_text[before:]
