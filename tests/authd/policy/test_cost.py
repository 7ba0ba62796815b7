"""The cost of a decision does not grow with the configuration. Counted in calls, which no busy machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from authd.policy import PolicyIndex, decide
from tests.authd.policy.samples import create_facts, create_index, create_person

FACTS = create_facts(create_person(email="alice@example.com", auth_methods=["mfa"]))


def create_large_index(count: int) -> PolicyIndex:
    """Applications of every kind: exact hosts, wildcards by beginning and by ending, and paths on one host."""
    kinds = ["app{n}.example.com", "pre{n}-*.example.net", "*.tenant{n}.example.org", "shared.example.com/app{n}/*"]
    policies = [
        {"name": "Mallory", "decision": "deny", "include": [{"email": "mallory@example.com"}]},
        {"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]},
    ]
    return create_index(
        applications=[
            {"id": f"app{n}", "domains": [kinds[n % 4].format(n=f"{n:05}")], "policies": policies} for n in range(count)
        ]
    )


def count_calls(function: Callable[[], Any]) -> int:
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


REQUESTS = [
    ("app00004.example.com", "/any/path"),
    ("pre00005-x.example.net", "/"),
    ("any.tenant00006.example.org", "/"),
    ("shared.example.com", "/app00007/" + "x/" * 500),
    ("shared.example.com", "/nobody" * 100),
    ("nobody.example.com", "/"),
    ("pre-nobody.example.net", "/"),
]


def test_a_thousand_times_the_applications_cost_the_same_calls() -> None:
    small, large = create_large_index(10), create_large_index(2000)
    for host, path in REQUESTS:
        few = count_calls(lambda: small.find_application(host, path))  # noqa: B023 - called at once
        many = count_calls(lambda: large.find_application(host, path))  # noqa: B023 - called at once
        assert few == many <= 40, (host, few, many)


def test_a_decision_takes_a_handful_of_calls() -> None:
    index = create_large_index(10)
    application = index.get_application("app4")
    assert count_calls(lambda: decide(application, FACTS)) <= 30
