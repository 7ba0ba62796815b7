"""Whatever address somebody asked for comes back after the login as it was, byte for byte."""

from __future__ import annotations

import pytest

from tests.harness.browser import Browser
from tests.harness.stack import Stack

ADDRESSES = {
    "ampersands": "/a?x=1&y=2&&=&z",
    "encoded ampersand, equals and plus": "/a?next=%26%3D%2B&x=%2526",
    "plus and encoded space": "/a?q=one+two%20three",
    "unicode, encoded": "/%C3%BC/caf%C3%A9?name=%E2%9C%93%F0%9F%A6%8A",
    "lower case escapes": "/%c3%bc?x=%e2%9c%93",
    "an empty query": "/a?",
    "question marks": "/a??x?",
    "a foreign address as a parameter": "/a?redirect_url=https://evil.example/&meta=x&kid=y&state=z&nonce=n",
    "escapes that are none": "/a?x=%zz&y=%",
    "characters that should have been escaped": "/a?q=<>\"{}|^`[]'\\",
    "a query that looks like a path": "/a?//evil.example/../..",
    "an encoded slash, as GitLab writes it": "/api/v4/projects/group%2Fproject",
    "parameters and dots": "/a;jsessionid=1/.hidden/..x?y",
    "dot segments": "/a/../b/./c",
    "doubled slashes": "/a//b///c",
    "4 kB of query": "/a?" + "&".join(f"k{n}=%26+%C3%BC" for n in range(230)),
    "4 kB of nothing but ampersands": "/a?" + "&" * 4000,
}
RAW_BYTES = {
    "unicode in the path": ("/caf\xc3\xa9", "/caf%C3%A9"),
    "unicode in the query": ("/a?name=\xe2\x9c\x93", "/a?name=%E2%9C%93"),
    "what is no text in the query": ("/a?x=\xff\xfe", "/a?x=%FF%FE"),
}
every_address = pytest.mark.parametrize("path", ADDRESSES.values(), ids=ADDRESSES)


@every_address
def test_an_address_comes_back_after_the_login_and_the_application_sees_it(stack: Stack, path: str) -> None:
    browser = stack.log_in(stack.url("grafana.test", path), "alice")

    assert browser.history[-1].url == stack.url("grafana.test", path)
    assert browser.history[-1].json()["target"] == path


@every_address
def test_an_address_passes_untouched_with_a_session(stack: Stack, alice: Browser, path: str) -> None:
    answer = alice.request(stack.url("grafana.test", path))

    assert answer.json()["target"] == path


@every_address
def test_an_address_survives_one_login_for_another_host(stack: Stack, alice: Browser, path: str) -> None:
    answer = alice.visit(stack.url("wiki.other.example", path))

    assert answer.json()["target"] == path
    assert not any(step.location.startswith(stack.provider.issuer) for step in alice.history)


@pytest.mark.parametrize(("raw", "escaped"), RAW_BYTES.values(), ids=RAW_BYTES)
def test_raw_bytes_come_back_as_the_same_address_in_escapes(
    stack: Stack, alice: Browser, raw: str, escaped: str
) -> None:
    browser = stack.log_in(stack.url("grafana.test", raw), "alice")

    assert browser.history[-1].json()["target"] == escaped
    assert alice.request(stack.url("grafana.test", raw)).json()["target"] == raw


@pytest.mark.parametrize("path", ["/caf\xe9", "/%E9", "/%C0%AE", "/%ED%A0%80"])
def test_a_path_that_is_no_text_is_refused_before_anybody_is_asked(stack: Stack, path: str) -> None:
    for host in ("grafana.test", "shared.test"):
        answer = stack.browser().request(stack.url(host, path))

        assert answer.status == 400
        assert "could not be read" in answer.text
    assert stack.application.count == 0


@pytest.mark.parametrize("path", ["/caf\xe9", "/%E9", "/%C0%AE", "/%ED%A0%80"])
def test_a_path_that_is_no_text_is_refused_though_nginx_remembers_the_host(
    stack: Stack, alice: Browser, path: str
) -> None:
    for _ in range(3):
        assert alice.request(stack.url("grafana.test", "/ok")).status == 200

    assert alice.request(stack.url("grafana.test", path)).status == 400


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example/", "/%09//evil.example"])
def test_no_address_leads_away_from_the_host(stack: Stack, path: str) -> None:
    browser = stack.browser()

    answer = stack.try_log_in(stack.url("grafana.test", path), "alice", browser)

    hosts = {step.url.split("/")[2].partition(":")[0] for step in browser.history}
    assert hosts <= {"grafana.test", "auth.test"}
    assert answer.url.startswith(stack.url("grafana.test"))
