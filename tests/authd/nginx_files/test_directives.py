"""Nothing that is pasted into nginx configuration can become a directive (CVE-2025-24514's kind)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.errors import ConfigError
from authd.nginx_files.directives import (
    NginxText,
    quote_application_id,
    quote_cookie_variable,
    quote_directory,
    quote_host,
    quote_path_prefix,
    quote_regex,
    quote_secret,
    quote_upstream,
)

HOSTILE = [
    "a;b",
    "a b",
    "a\nb",
    "a\n",
    "\na",
    "a{b}",
    "a}",
    "a#b",
    'a"b',
    "a'b",
    "a\\b",
    "$host",
    "a$b",
    "${host}",
    "~.*",
    "~*a",
    "a\tb",
    "a\rb",
    "a\x00b",
    "a\x7fb",
    "аpp.example.com",  # a Cyrillic letter
    "a\u2028b",
    "a\u00a0b",
    "x; } server { listen 1; location / { return 200; } } #",
]
QUOTERS: list[Callable[[str], NginxText]] = [
    quote_host,
    quote_application_id,
    quote_cookie_variable,
    quote_path_prefix,
    quote_directory,
    quote_upstream,
    quote_secret,
]


@pytest.mark.parametrize("quote", QUOTERS, ids=lambda quote: quote.__name__)
def test_hostile_text_is_refused_also_within_what_looks_right(quote: Callable[[str], NginxText]) -> None:
    frames = ("{}", "/{}", "unix:/{}", "{}.example.com", "127.0.0.1:{}", "x" * 32 + "{}")
    for text in HOSTILE:
        for frame in frames:
            with pytest.raises(ConfigError):
                quote(frame.format(text))


@pytest.mark.parametrize("quote", QUOTERS, ids=lambda quote: quote.__name__)
def test_nothing_at_all_is_refused(quote: Callable[[str], NginxText]) -> None:
    with pytest.raises(ConfigError):
        quote("")


@pytest.mark.parametrize("quote", QUOTERS, ids=lambda quote: quote.__name__)
@given(text=st.text(max_size=40))
def test_whatever_is_accepted_is_one_plain_word_of_nginx(quote: Callable[[str], NginxText], text: str) -> None:
    """Letters, digits and a few marks that mean nothing to nginx, its own variable's `$` and our backslash aside."""
    try:
        quoted = quote(text)
    except ConfigError:
        return
    assert re.fullmatch(r'"?(\$cookie_)?\\?[A-Za-z0-9._~:/*\[\]+=-]+"?', quoted)


@pytest.mark.parametrize("name", ["default", "hostnames", "volatile", "include"])
def test_a_name_that_a_map_would_take_for_its_own_parameter_is_escaped(name: str) -> None:
    assert quote_application_id(name) == f"\\{name}"
    assert quote_host(name) == f"\\{name}"


@pytest.mark.parametrize(
    ("quote", "text", "quoted"),
    [
        (quote_host, "grafana.example.com", "grafana.example.com"),
        (quote_host, "*.example.com", "*.example.com"),
        (quote_host, "xn--bcher-kva.example", "xn--bcher-kva.example"),
        (quote_application_id, "Grafana_2.x-y", "Grafana_2.x-y"),
        (quote_cookie_variable, "CF_AUTHORIZATION", "$cookie_cf_authorization"),
        (quote_path_prefix, "/cdn-cgi/access", "/cdn-cgi/access"),
        (quote_path_prefix, "/_access", "/_access"),
        (quote_directory, "/var/cache/authd-nginx", "/var/cache/authd-nginx"),
        (quote_upstream, "unix:/run/authd/authd.sock", "unix:/run/authd/authd.sock"),
        (quote_upstream, "127.0.0.1:8300", "127.0.0.1:8300"),
        (quote_upstream, "[::1]:8300", "[::1]:8300"),
        (quote_upstream, "::1:8300", "[::1]:8300"),
        (quote_secret, "a" * 31 + "+/=", '"' + "a" * 31 + '+/="'),
    ],
)
def test_what_an_operator_writes_is_accepted(quote: Callable[[str], NginxText], text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize("prefix", ["cdn-cgi", "/", "/a/", "/a//b", "/a/../b", "/.authd", "/a/.", "/a%20b", "/(a|b)"])
def test_a_prefix_that_is_no_plain_path_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"path_prefix: cannot stand in nginx configuration"):
        quote_path_prefix(prefix)


def test_a_dot_of_the_prefix_is_a_dot_in_a_regular_expression() -> None:
    assert quote_regex(quote_path_prefix("/my.access")) == r"/my\.access"


@pytest.mark.parametrize("secret", ["short", "x" * 513, "x" * 40 + "$host", "x" * 40 + " ", "x" * 40 + '"'])
def test_a_refused_secret_is_not_repeated(secret: str) -> None:
    with pytest.raises(ConfigError) as refused:
        quote_secret(secret)
    assert secret not in str(refused.value)
    assert refused.value.mistakes[0].value == ""
