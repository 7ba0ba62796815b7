"""Requests across origins: who answers a preflight, and what a script of another origin may read."""

from __future__ import annotations

import pytest

from tests.harness.browser import Answer
from tests.harness.stack import Stack
from tests.stories.installation import FRONTEND
from tests.stories.test_request_kinds import FETCH


def send_preflight(stack: Stack, host: str, origin: str, method: str, *names: str) -> Answer:
    headers = [*FETCH, ("Origin", origin), ("Access-Control-Request-Method", method)]
    if names:
        headers.append(("Access-Control-Request-Headers", ",".join(names)))
    return stack.browser().request(stack.url(host, "/v1/x?y"), method="OPTIONS", headers=headers)


def cors_headers_of(answer: Answer) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers if name.lower().startswith("access-control-")}


@pytest.mark.parametrize("names", [(), ("content-type",), ("x-trace", "content-type")])
def test_authd_answers_an_allowed_preflight_itself(stack: Stack, names: tuple[str, ...]) -> None:
    answer = send_preflight(stack, "api.test", FRONTEND, "PUT", *names)

    assert answer.status == 204
    expected = {
        "access-control-allow-origin": FRONTEND,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, PUT",
        "access-control-max-age": "600",
    }
    if names:
        expected["access-control-allow-headers"] = ", ".join(names)
    assert cors_headers_of(answer) == expected
    assert answer.get("Vary") == "Origin"
    assert stack.application.count == 0


@pytest.mark.parametrize(
    ("origin", "method", "name"),
    [
        ("https://evil.example", "GET", "x-trace"),
        (f"{FRONTEND}.evil.example", "GET", "x-trace"),
        ("http://frontend.example", "GET", "x-trace"),
        ("null", "GET", "x-trace"),
        (FRONTEND, "DELETE", "x-trace"),
        (FRONTEND, "get", "x-trace"),
        (FRONTEND, "GET", "authorization"),
    ],
)
def test_a_preflight_that_is_not_allowed_promises_nothing(stack: Stack, origin: str, method: str, name: str) -> None:
    answer = send_preflight(stack, "api.test", origin, method, name)

    assert answer.status == 403
    assert "access-control-allow-methods" not in cors_headers_of(answer)
    assert "access-control-allow-headers" not in cors_headers_of(answer)
    assert stack.application.count == 0


def test_a_script_of_an_allowed_origin_may_read_that_its_session_ended(stack: Stack) -> None:
    answer = stack.browser().request(stack.url("api.test"), headers=[*FETCH, ("Origin", FRONTEND)])

    assert answer.status == 401
    assert cors_headers_of(answer) == {
        "access-control-allow-origin": FRONTEND,
        "access-control-allow-credentials": "true",
    }
    assert answer.json()["login_url"]


@pytest.mark.parametrize("host", ["api.test", "grafana.test", "hooks.test"])
def test_a_script_of_any_other_origin_may_not(stack: Stack, host: str) -> None:
    answer = stack.browser().request(stack.url(host), headers=[*FETCH, ("Origin", "https://evil.example")])

    assert answer.status == 401
    assert cors_headers_of(answer) == {}


def test_a_preflight_passes_to_the_application_where_that_is_said(stack: Stack) -> None:
    answer = send_preflight(stack, "hooks.test", "https://anything.example", "DELETE", "x-anything")

    assert (answer.status, answer.json()["method"]) == (200, "OPTIONS")
    assert stack.application.last.get("X-Authd-User") is None


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", [("Origin", FRONTEND)]),
        ("OPTIONS", [("Access-Control-Request-Method", "GET")]),
        ("GET", [("Origin", FRONTEND), ("Access-Control-Request-Method", "GET")]),
        ("POST", [("Origin", FRONTEND), ("Access-Control-Request-Method", "OPTIONS")]),
    ],
)
def test_only_a_true_preflight_passes(stack: Stack, method: str, headers: list[tuple[str, str]]) -> None:
    answer = stack.browser().request(stack.url("hooks.test"), method=method, headers=[*FETCH, *headers])

    assert answer.status == 401
    assert stack.application.count == 0


def test_without_a_setting_a_preflight_needs_a_session_like_everything_else(stack: Stack) -> None:
    answer = send_preflight(stack, "grafana.test", FRONTEND, "GET")

    assert answer.status == 401
    assert cors_headers_of(answer) == {}
    assert stack.application.count == 0
