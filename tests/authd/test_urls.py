"""URLs: what is refused, what is kept byte for byte, and that Node's URL agrees about where a return path leads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authd.urls import (
    MAX_RETURN_PATH_BYTES,
    decode_path,
    encode_parameter,
    find_host,
    find_original_url,
    find_return_path,
    find_single,
    is_ambiguous_path,
    parse_query,
    readings_of,
    resolve_path,
)
from tests.harness.idp import NODE

# Reads one URL a line as JSON, answers [host, path] of it as browsers read it, or null.
WHATWG = """
require('readline').createInterface({input: process.stdin}).on('line', (line) => {
  let answer = null;
  try { const url = new URL(JSON.parse(line)); answer = [url.host, url.username, url.protocol]; } catch {}
  console.log(JSON.stringify(answer));
});
"""
TRICKY = st.text("/\\.:@?#%&=;+ \t\r\n\x00aé\xff012fF{}[]<>\"'`^|~-_", max_size=30)
# Raw targets: latin-1, as headers are read, and beginning with a slash, as HTTP demands.
PATHS = st.lists(
    st.sampled_from(
        ["/", "a", "..", ".", "%2e", "%2F", "%5c", "\\", ";", ";x", "%25", "%252e", "%00", "%23", "\xc3\xbc"]
    ),
    max_size=12,
).map(lambda parts: "/" + "".join(parts))


@pytest.fixture(scope="module")
def whatwg() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([NODE, "-e", WHATWG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def read_as_browser(whatwg: subprocess.Popen[str], url: str) -> list[str] | None:
    assert whatwg.stdin is not None
    assert whatwg.stdout is not None
    whatwg.stdin.write(json.dumps(url) + "\n")
    whatwg.stdin.flush()
    answer: list[str] | None = json.loads(whatwg.stdout.readline())
    return answer


@pytest.mark.parametrize(
    "hostile", ["//evil.example", "/\\evil.example", "@evil", ".evil.example", ":1@evil", "", "evil"]
)
def test_what_an_open_redirect_would_lead_to_is_no_return_path(hostile: str) -> None:
    assert find_return_path(hostile) is None


@pytest.mark.parametrize(
    ("raw", "path"), [("/\t/evil", "/%09/evil"), ("/\n//evil", "/%0A//evil"), ("/ //evil", "/%20//evil")]
)
def test_characters_that_browsers_drop_are_escaped_first(raw: str, path: str) -> None:
    """A browser reads "/\\t/evil" as "//evil"."""
    assert find_return_path(raw) == path


@given(text=TRICKY)
@example(text="/\\evil.example")
@example(text="/%5cevil.example")
@example(text="//evil.example")
@example(text="/..//evil.example")
def test_a_return_path_never_leaves_its_host_as_browsers_read_it(whatwg: subprocess.Popen[str], text: str) -> None:
    for candidate in (text, f"/{text}"):
        path = find_return_path(candidate)
        if path is not None:
            assert path.isascii()
            assert path.isprintable()
            assert read_as_browser(whatwg, f"https://host.example:8443{path}") == ["host.example:8443", "", "https:"]


@given(text=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60))
def test_a_return_path_of_printable_characters_is_kept_byte_for_byte(text: str) -> None:
    assert find_return_path(f"/{text}") in (f"/{text}", None)
    if not text.startswith(("/", "\\")) and "\\" not in text.partition("?")[0]:
        assert find_return_path(f"/{text}") == f"/{text}"


def test_a_return_path_has_a_length() -> None:
    assert find_return_path("/" + "x" * (MAX_RETURN_PATH_BYTES - 1)) is not None
    assert find_return_path("/" + "x" * MAX_RETURN_PATH_BYTES) is None


@given(text=st.text(max_size=60))
def test_a_parameter_comes_back_as_it_was(text: str) -> None:
    encodable = text.encode("utf-8", "replace").decode()

    query = f"a=1&redirect_url={encode_parameter(encodable)}&z="

    assert find_single(parse_query(query), "redirect_url") == encodable


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("x=1", "1"),
        ("x=", ""),
        ("x", ""),
        ("x=1&x=1", None),
        ("%78=1", "1"),
        ("X=1", None),
        ("", None),
        ("x=a+b", "a+b"),
    ],
)
def test_a_parameter_counts_if_it_is_there_once(query: str, expected: str | None) -> None:
    assert find_single(parse_query(query), "x") == expected


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("https://a.example/", "a.example", "", "/"),
        ("https://A.Example./x?y=%26#z", "a.example", "", "/x?y=%26#z"),
        ("https://a.example:8443/x?", "a.example", "8443", "/x?"),
        ("http://a.example/?//b.example", "a.example", "", "/?//b.example"),
        ("https://a.example/\n/x", "a.example", "", "/\n/x"),
    ],
)
def test_an_address_of_nginx_is_split_and_kept(text: str, host: str, port: str, target: str) -> None:
    url = find_original_url(text)

    assert url is not None
    assert (url.host, url.port, url.raw_target) == (host, port, target)


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "a.example/", "ftp://a.example/", "https://", "https://a.example", "https:///x", "https://a b/"),
        *("HTTPS://a/", "https://u@a.example/", "https://a.example:x/", "https://a.example:99999999/"),
        *("https://[::1]/", "https://a..b/", "https://-a.example/", "https://a.example\\@b/", "https://é.example/"),
        *("https://a.example?x/", " https://a.example/"),
    ],
)
def test_what_is_no_address_of_a_host_is_refused(text: str) -> None:
    assert find_original_url(text) is None


@pytest.mark.parametrize("text", ["a" * 64 + ".example", "a." * 127 + "example", "a_b.example ", "*.example", "a\x00"])
def test_what_is_no_host_name_is_refused(text: str) -> None:
    assert find_host(text) is None


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b.c", "/a%20b", "/%C3%BC", "/\xc3\xbc", "/.hidden", "/..x", "/a:b@c", "/[x]"]
)
def test_a_path_with_one_reading_is_none_to_argue_about(path: str) -> None:
    assert not is_ambiguous_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("/a//b", "//", "/./a", "/a/..", "/..", "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/a;b", "/a%3bb", "/a%2e"),
        *("/a%252e", "/a%00", "/a%0a", "/a%23", "/a#b", "/a%3f", "/a%", "/a%g0", "/%c0%ae", "/%ed%a0%80", "/%ff"),
        *("/\xff", "/a%7f"),
    ],
)
def test_a_path_with_two_readings_is_found(path: str) -> None:
    assert is_ambiguous_path(path)


@given(path=PATHS)
@example(path="/\xc3\xbc%2Fx")
def test_what_nginx_reads_is_among_the_readings(path: str) -> None:
    assert resolve_path(path) in readings_of(path)


@given(path=PATHS)
def test_a_path_that_is_not_ambiguous_is_read_as_nginx_reads_it(path: str) -> None:
    if not is_ambiguous_path(path):
        assert decode_path(path) == resolve_path(path)


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        ("/admin%252fx", "/admin/x"),
        ("/x\\..\\admin", "/admin"),
        ("/x;y/../admin", "/admin"),
        ("/admin;x", "/admin"),
        ("/admin%23x", "/admin"),
        ("/admin%00.css", "/admin"),
        ("/admin/delete/../..", "/admin/delete/../.."),
        ("//admin/../x", "/admin/../x"),
        ("/%25252e%25252e/admin", "/admin"),
    ],
)
def test_the_readings_of_careless_programs_are_known(path: str, reading: str) -> None:
    assert reading in readings_of(path)
