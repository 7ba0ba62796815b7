"""Under which of its configured hosts an application is reached: what cloudflared names its files by."""

from __future__ import annotations

import pytest

from authd.config.domains import parse_domain
from authd.policy.domains import find_configured_host

DOMAINS = [parse_domain(text) for text in ("a.example.com", "*.example.com/x", "test-*.example.com", "*.*.example.com")]


@pytest.mark.parametrize(
    ("host", "configured"),
    [
        ("a.example.com", "a.example.com"),
        ("b.example.com", "*.example.com"),
        ("test-1.example.com", "test-*.example.com"),
        ("b.a.example.com", "*.*.example.com"),
        ("example.com", None),
        ("c.b.a.example.com", None),
        ("a.example.com.evil", None),
    ],
)
def test_an_exact_host_goes_before_a_wildcard_and_a_longer_one_before_a_shorter(
    host: str, configured: str | None
) -> None:
    assert find_configured_host(DOMAINS, host) == configured
