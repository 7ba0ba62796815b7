"""One host, three applications: `/public` open to all, `/admin` for root alone, the rest for staff.

Attacks.md 0.1, 1.3, 1.6, 1.7, 1.10. The judge is what the application saw: what reached it must be allowed by the
policy of every path that some program behind nginx could take it for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from tests.security.wire import Visitor

HOST = "paths.test"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "confused_paths.json").read_text())
TO_ADMIN: list[str] = VECTORS["to_admin"]
TARGETS: list[str] = TO_ADMIN + VECTORS["others"] + VECTORS["shapes"]


def readings(target: str) -> set[str]:
    """Every path that some server would make of this target. Written apart from authd's own, to judge it."""
    path = target.partition("?")[0]
    texts = {path, path.partition("#")[0]}
    for _ in range(3):
        texts |= {unquote_to_bytes(text.encode("latin-1")).decode("latin-1") for text in texts}
        texts |= {re.split(r"[?#\x00]", text)[0] for text in texts}
        texts |= {text.replace("\\", "/") for text in texts}
        texts |= {re.sub(r";[^/]*", "", text) for text in texts}
        overlong = {"\xc0\xae": ".", "\xe0\x80\xae": ".", "\xc0\xaf": "/", "\xc1\x9c": "/", "\xef\xbc\x8f": "/"}
        for sequence, character in overlong.items():
            texts |= {text.replace(sequence, character) for text in texts}
    return {resolve(text) for text in texts}


def resolve(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment.strip() not in ("", "."):
            kept.append(segment.strip(" \t\r\n\x00"))
    return "/" + "/".join(kept)


def is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def test_the_judge_knows_what_these_paths_may_mean() -> None:
    blind = {target for target in TO_ADMIN if not any(is_below(path, "/admin") for path in readings(target))}
    # Full stops that no server reads so far, what leads away from /admin, and what is not in the path at all.
    assert len(blind) < len(TO_ADMIN) / 5
    assert not blind & {"/public/../admin", "/public/..;/admin", "/public/..%5cadmin", "/admin%00/public", "//admin"}


@pytest.mark.parametrize("who", ["nobody", "alice"])
def test_no_confused_path_gets_around_the_policy_of_admin(who: str, request: pytest.FixtureRequest) -> None:
    """Alice is staff and no admin; nobody is only what `/public` is for."""
    visitor: Visitor = request.getfixturevalue(who)
    through = []
    for target in TARGETS:
        seen = visitor.reaches(HOST, target)
        if seen is None:
            continue
        meanings = readings(seen) | readings(target)
        if any(is_below(path, "/admin") for path in meanings):
            through.append(target)
        if who == "nobody" and not all(is_below(path, "/public") for path in meanings):
            through.append(target)
    assert through == []


def test_a_foreign_authority_in_the_request_line_changes_nothing(nobody: Visitor, alice: Visitor) -> None:
    for visitor in (nobody, alice):
        for target in (
            f"http://{HOST}/admin", f"https://{HOST}/admin", "http://open.test/admin", "http://evil.test/admin",
            f"http://{HOST}:80@open.test/admin", f"http://public@{HOST}/admin", f"http://{HOST}", f"http://{HOST}?/public",
        ):  # fmt: skip
            seen = visitor.reaches(HOST, target)
            # Alice may have the whole of open.test, and so may everybody.
            assert seen is None or "open.test" in target or (visitor is alice and "admin" not in seen), target


def test_those_who_may_are_still_let_in(nobody: Visitor, alice: Visitor, root: Visitor) -> None:
    """Else a closed door would pass every test above."""
    assert nobody.reaches(HOST, "/public") == "/public"
    assert nobody.reaches(HOST, "/public/x%20y?a=%2e%2e%2fadmin") == "/public/x%20y?a=%2e%2e%2fadmin"
    assert nobody.reaches(HOST, "/") is None
    assert alice.reaches(HOST, "/") == "/"
    assert alice.reaches(HOST, "/admin") is None
    assert root.reaches(HOST, "/admin") == "/admin"
    assert root.reaches(HOST, "/%61dmin/x") == "/%61dmin/x"
    assert alice.reaches("grafana.test", "/a%2fb/..%2fc;d") == "/a%2fb/..%2fc;d", "one application, however it is read"


@pytest.mark.parametrize(
    "method", ["OPTIONS", "HEAD", "POST", "PUT", "DELETE", "PROPFIND", "FOO", "TRACE", "CONNECT", "get"]
)
def test_no_method_opens_a_path(nobody: Visitor, alice: Visitor, method: str) -> None:
    preflight = [("Origin", "https://evil.test"), ("Access-Control-Request-Method", "GET")]
    for headers in ([], preflight, [("X-HTTP-Method-Override", "GET"), ("X-Original-Method", "GET")]):
        assert nobody.reaches("grafana.test", "/", headers, method=method) is None
        assert alice.reaches(HOST, "/admin", headers, method=method) is None
