"""What an application is shown as the token is one that authd verified for it, whatever came along (docs/adr/0122).

nginx takes the visitor's own cookie as the token where authd says so. Nobody gets another value into that place: not by
a second cookie, another spelling, a header beside it, or a decision that is kept for somebody else.
"""

from __future__ import annotations

import base64
import itertools
import json

import pytest

from tests.security.wire import Visitor, seen_headers

HOST = "grafana.test"
NAME = "CF_AUTHORIZATION"
ASSERTION = "Cf-Access-Jwt-Assertion"


def token_of(visitor: Visitor, host: str = HOST) -> str:
    return next(part for part in visitor.cookies[host].split("; ") if part.startswith(NAME)).partition("=")[2]


def owner_of(token: str) -> str:
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["email"])


@pytest.fixture(scope="module")
def good(alice: Visitor, root: Visitor) -> dict[str, str]:
    """What each living token is, as `Cf-Access-Authenticated-User-Email` has to say it."""
    return {token_of(visitor): owner_of(token_of(visitor)) for visitor in (alice, root)}


def values_of(mine: str, roots: str, elsewhere: str) -> list[str]:
    """Cookies: good ones, one of another application, one that nobody signed, and good ones with something beside."""
    mixed = ".".join([mine.split(".")[0], roots.split(".")[1], mine.split(".")[2]])
    beside = [f'"{mine}"', f" {mine}", f"{mine}\t", f"{mine} {mixed}", f"{mixed},{mine}", f"{mine},{mixed}", ""]
    return [mine, roots, mixed, elsewhere, *beside]


def test_only_verified_tokens_are_shown_and_with_their_owners_name(alice: Visitor, good: dict[str, str]) -> None:
    """White space at the end is none of a header's value, and none of the token then (nginx keeps it in a cookie)."""
    mine, roots = good
    values = values_of(mine, roots, token_of(alice, "wiki.other.example"))
    forged = values[2]
    lines = [f"{name}={value}" for value in values for name in (NAME, "cf_Authorization")]
    cookies = itertools.product(lines, ["", *lines[::2]])
    beside = itertools.cycle([
        [], [("Cf-Access-Token", roots)], [("Authorization", f"Bearer {roots}")],
        [(ASSERTION, forged), ("X-Authd-Token-From", "session"), ("X-Authd-Session", forged)],
    ])  # fmt: skip
    seen = set()
    for pair, headers in zip(cookies, beside, strict=False):
        line = "; ".join(part for part in pair if part)
        before = alice.stack.application.count
        answer = Visitor(alice.stack).ask(HOST, "/", [*headers, ("Cookie", line)])
        if alice.stack.application.count > before:
            told = seen_headers(answer)
            tokens = [value.strip(" \t") for name, value in told if name.lower() == ASSERTION.lower()]
            emails = [value for name, value in told if name.lower() == "cf-access-authenticated-user-email"]
            assert [good.get(token) for token in tokens] == emails, (pair, headers)
            assert len(emails) == 1, (pair, headers)
            seen.add(emails[0])
    assert seen == set(good.values())


def test_a_token_in_a_header_is_shown_and_not_the_cookie_that_is_no_good(alice: Visitor, good: dict[str, str]) -> None:
    mine, roots = good
    for cookie in ("x", mine[:-1], roots[:-8] + mine[-8:]):
        for _ in range(2):
            answer = Visitor(alice.stack).ask(HOST, "/", [("Cf-Access-Token", mine), ("Cookie", f"{NAME}={cookie}")])
            assert [value for name, value in seen_headers(answer) if name == ASSERTION] == [mine]
