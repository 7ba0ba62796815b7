"""Domains of applications: which spellings are one, and which are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.config.domains import DomainPattern, parse_domain
from authd.config.hosts import parse_host


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("example.com", DomainPattern("example.com", None, "")),
        ("Example.COM", DomainPattern("example.com", None, "")),
        ("example.com/", DomainPattern("example.com", None, "")),
        ("example.com/*", DomainPattern("example.com", None, "")),
        ("example.com:8443", DomainPattern("example.com", 8443, "")),
        ("example.com:8443/a", DomainPattern("example.com", 8443, "/a")),
        ("example.com/Alpha", DomainPattern("example.com", None, "/Alpha")),
        ("example.com/alpha/", DomainPattern("example.com", None, "/alpha")),
        ("example.com/alpha/*", DomainPattern("example.com", None, "/alpha/*")),
        ("example.com/foo*/bar", DomainPattern("example.com", None, "/foo*/bar")),
        ("example.com/a*/*b", DomainPattern("example.com", None, "/a*/*b")),
        ("*.example.com", DomainPattern("*.example.com", None, "")),
        ("*Test.Example.com", DomainPattern("*test.example.com", None, "")),
        ("a*.b*.example.com", DomainPattern("a*.b*.example.com", None, "")),
        ("*.localhost:8443", DomainPattern("*.localhost", 8443, "")),
        ("localhost", DomainPattern("localhost", None, "")),
        ("my_app.example.com", DomainPattern("my_app.example.com", None, "")),
        ("127.0.0.1/x", DomainPattern("127.0.0.1", None, "/x")),
        ("bücher.example", DomainPattern("xn--bcher-kva.example", None, "")),
        ("*.bücher.example", DomainPattern("*.xn--bcher-kva.example", None, "")),
        ("example.com/żółw", DomainPattern("example.com", None, "/żółw")),
    ],
)
def test_good_domains(text: str, pattern: DomainPattern) -> None:
    assert parse_domain(text) == pattern


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/alpha",
        "https://example.com",
        "//example.com",
        "*",
        "*.*",
        "example.*",
        "example.c*",
        "foo*bar*baz.example.com",
        "**.example.com",
        ".example.com",
        "example..com",
        "example.com.",
        "-a.example.com",
        "*é.example.com",
        "exa mple.com",
        "example.com:",
        "example.com:0",
        "example.com:08443",
        "example.com:65536",
        "example.com:x",
        "[::1]",
        "a@example.com",
        "example.com/foo*bar*baz",
        "example.com/**",
        "example.com/a//b",
        "example.com//",
        "example.com/./a",
        "example.com/a/..",
        "example.com/../a",
        "example.com/a?x=1",
        "example.com/a#x",
        "example.com/a%2fb",
        "example.com/a%20b",
        "example.com/a;b",
        "example.com/a\\b",
        "example.com/a b",
        "example.com/a\tb",
        "example.com/a\0",
        "example.com/" + "a" * 2000,
        "a" * 64 + ".example.com",
        "a" * 64 + "*.example.com",
        "a." * 130 + "com",
    ],
)
def test_bad_domains(text: str) -> None:
    with pytest.raises(ValueError):
        parse_domain(text)


@given(st.text(max_size=30))
def test_a_host_has_one_spelling_or_none(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert parse_host(host) == host
    assert host.isascii()
    assert host == host.lower()


@given(st.text(alphabet="ab*./:8-", max_size=20))
def test_what_is_rendered_is_read_back(text: str) -> None:
    try:
        pattern = parse_domain(text)
    except ValueError:
        return
    assert parse_domain(str(pattern)) == pattern
