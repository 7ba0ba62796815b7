"""The CORS headers that authd sends by itself: exactly what the settings say, or nothing."""

from __future__ import annotations

import pytest

from authd.config import CorsHeaders
from authd.resources.cors import render_cors_headers, render_preflight_headers

ORIGIN = "https://app.example"
STRICT = CorsHeaders.model_validate(
    {"allowed_origins": [ORIGIN], "allowed_methods": ["GET", "PUT"], "allowed_headers": ["X-Trace"], "max_age": 60}
)
OPEN = CorsHeaders.model_validate({"allow_all_origins": True, "allow_all_methods": True, "allow_all_headers": True})


@pytest.mark.parametrize(
    ("origin", "method", "headers", "is_allowed"),
    [
        (ORIGIN, "GET", "", True),
        (ORIGIN, "PUT", "x-trace", True),
        (ORIGIN, "GET", "X-TRACE, x-trace", True),
        (ORIGIN, "GET", " , ,", True),
        (ORIGIN, "POST", "", False),
        (ORIGIN, "", "", False),
        (ORIGIN, "GET", "x-trace, x-other", False),
        (ORIGIN, "GET", "*", False),
        ("https://app.example:443", "GET", "", False),
        ("https://APP.example", "GET", "", False),
        ("https://app.example.evil", "GET", "", False),
        ("null", "GET", "", False),
        ("", "GET", "", False),
        ("*", "GET", "", False),
    ],
)
def test_a_preflight_is_answered_if_all_three_are_allowed(
    origin: str, method: str, headers: str, is_allowed: bool
) -> None:
    answer = render_preflight_headers(STRICT, origin=origin, method=method, headers=headers)

    assert bool(answer) is is_allowed
    if is_allowed:
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
        assert answer["Access-Control-Allow-Methods"] == "GET, PUT"
        assert answer["Access-Control-Max-Age"] == "60"
        assert answer["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer


def test_all_means_all_and_still_no_credentials() -> None:
    answer = render_preflight_headers(OPEN, origin="https://any.example", method="PURGE", headers="x-a, x-b")

    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Access-Control-Allow-Methods"] == "PURGE"
    assert answer["Access-Control-Allow-Headers"] == "x-a, x-b"
    assert "Access-Control-Max-Age" not in answer
    assert "Access-Control-Allow-Credentials" not in answer


def test_credentials_name_the_very_origin() -> None:
    cors = CorsHeaders.model_validate({"allowed_origins": [ORIGIN], "allow_credentials": True})

    assert render_cors_headers(cors, ORIGIN) == {
        "Access-Control-Allow-Origin": ORIGIN,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


def test_without_settings_or_origin_nothing_is_said() -> None:
    assert render_cors_headers(None, ORIGIN) == {}
    assert render_cors_headers(OPEN, "") == {}
    assert render_preflight_headers(None, origin=ORIGIN, method="GET", headers="") == {}
