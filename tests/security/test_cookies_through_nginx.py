"""One Cookie header, three readers: nginx, authd and the browser (attacks.md 0.1, 1.10; nginx-contract.md 4.6).

Nobody is let in by a cookie that they did not send, nor as anybody but its owner.
"""

from __future__ import annotations

import time

import pytest

from tests.security.wire import Visitor, seen_headers

HOST = "grafana.test"
NAME = "CF_AUTHORIZATION"


def who(visitor: Visitor, *cookies: str) -> str | None:
    """As whom the application sees a request with exactly these Cookie lines; None if it does not see it."""
    before = visitor.stack.application.count
    answer = Visitor(visitor.stack).ask(HOST, "/", [("Cookie", line) for line in cookies])
    if visitor.stack.application.count == before:
        return None
    return dict(seen_headers(answer))["Cf-Access-Authenticated-User-Email"]


@pytest.fixture(scope="module")
def mine(alice: Visitor) -> str:
    return next(part for part in alice.cookies[HOST].split("; ") if part.startswith(NAME)).partition("=")[2]


@pytest.fixture(scope="module")
def roots(root: Visitor) -> str:
    return next(part for part in root.cookies[HOST].split("; ") if part.startswith(NAME)).partition("=")[2]


def test_a_good_cookie_among_others_is_found(alice: Visitor, mine: str) -> None:
    many = "; ".join(f"c{number}={number}" for number in range(60))
    for lines in (
        (f"{NAME}={mine}",), (f"{many}; {NAME}={mine}",), (f"{NAME}={mine}; {many}",), (f"a=b;\t{NAME}={mine}",),
        (f"a=b;{NAME}={mine}",), ("a=b", f"{NAME}={mine}"), (f"{NAME}={mine}", "a=b"), (f"{NAME}=garbage; {NAME}={mine}",),  # noqa: E501
        (f"{NAME}={mine}; {NAME}=garbage",), (f"cf_authorization={mine}",), (f"CF_Authorization={mine}",),
        (f"{NAME}=; {NAME}={mine}",), (f"{NAME}={mine}; {NAME}={mine}",), ("x=" + "y" * 5000 + f"; {NAME}={mine}",),
    ):  # fmt: skip
        assert who(alice, *lines) == "alice@example.com", str(lines)[:80]


def test_what_is_no_cookie_of_ours_is_nobodys(alice: Visitor, mine: str) -> None:
    for lines in (
        (f'{NAME}="{mine}"',), (f"x{NAME}={mine}",), (f"{NAME}x={mine}",), (f"={NAME}={mine}",), (f"{NAME}:{mine}",),
        (f"{NAME}={mine[:-1]}",), (f"{NAME}={mine}=",), (f"{NAME}={mine}%20",), (f"{NAME}={mine.replace('.', '%2e')}",),
        (f"__Host-{NAME}={mine}",), (f"{NAME}_0={mine[:400]}; {NAME}_1={mine[400:]}; {NAME}_chunks=99999999",),
        (f"{NAME}\xa0={mine}",), (f"{NAME}={mine}\x00",), (f"{NAME}=\x00{mine}",), (f"{NAME}=j:{mine}",), (f"{NAME}={'e' * 7000}",),  # noqa: E501
        ("CF_AUTHORIZATİON=" .encode().decode("latin-1") + mine,), (f"$Version=1; $Path=/; {NAME}=\"\\145\\171\"",), ("=" * 7000,),  # noqa: E501
    ):  # fmt: skip
        assert who(alice, *lines) is None, str(lines)[:80]


def test_two_people_in_one_header_are_neither(alice: Visitor, mine: str, roots: str) -> None:
    """For as long as nginx remembers its answer to the first of them alone, it may be theirs; never the second's."""
    for first, second, owner in ((mine, roots, "alice@example.com"), (roots, mine, "root@example.com")):
        for lines in (
            (f"{NAME}={first}; {NAME}={second}",),
            (f"{NAME}={first}", f"{NAME}={second}"),
            (f"{NAME}={first}; cf_authorization={second}",),
        ):
            deadline = time.monotonic() + 10
            while (seen := who(alice, *lines)) is not None:
                assert seen == owner
                assert time.monotonic() < deadline, "remembered for ever"
                time.sleep(0.05)
        assert who(alice, f"a=b;\t{NAME}={first};\t{NAME}={second}") is None


def test_nobody_inherits_the_answer_that_somebody_elses_cookie_got(alice: Visitor, mine: str, roots: str) -> None:
    """The decision cache: nginx' key and authd's reading of a header differ in each of these."""
    for prime in (
        f"a=b;\t{NAME}={mine}",
        f"{NAME}=;{NAME}={mine}",
        f"{NAME}=x; {NAME}={mine}",
        f"a=b;\t{NAME}={mine}; {NAME}=",
    ):
        assert who(alice, prime) == "alice@example.com"
        for line in ("", "a=b", f"{NAME}=", f"{NAME}=x", f"a=b;\t{NAME}=", f"{NAME}=x; {NAME}=y"):
            assert who(alice, line) is None, (prime[:30], line)
        assert who(alice, f"{NAME}={roots}") == "root@example.com"
        assert who(alice, f"{NAME}={mine}") == "alice@example.com"


def test_a_remembered_answer_is_one_persons_at_one_address(alice: Visitor, mine: str) -> None:
    assert who(alice, f"{NAME}={mine}") == "alice@example.com"
    for host in ("paths.test", "api.test", "wiki.other.example"):
        assert Visitor(alice.stack).reaches(host, "/", [("Cookie", f"{NAME}={mine}")]) is None, host
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert Visitor(alice.stack).reaches(HOST, "/", method=method) is None
