"""F34: after a whole journey, good and bad, nothing that was written holds a token, code, state, secret or cookie."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.harness.browser import Browser
from tests.harness.stack import TEAM, Stack

HOST = "grafana.test"
SECRET_PARAMETERS = ("code", "state", "nonce", "meta", "code_challenge")


@pytest.fixture(scope="module")
def secrets(stack: Stack) -> set[str]:
    """What a login, a logout and a dozen failures have in their addresses and cookies."""
    browser = stack.log_in(stack.url(HOST, "/page?token=application-secret-in-a-query"), "alice")
    token = browser.cookies[HOST]["CF_AUTHORIZATION"]
    found = _secrets_of(browser)
    for url in [answer.url for answer in browser.history if "callback" in answer.url or "authorized" in answer.url]:
        browser.request(url)
    stranger = stack.browser()
    stranger.cookies[HOST] = {"CF_AUTHORIZATION": token[:-6] + "AAAAAA"}
    stranger.visit(stack.url(HOST))
    for headers in ([("Cf-Access-Token", token)], [("Authorization", f"Bearer {token[:-4]}")]):
        stranger.request(stack.url("wiki.other.example"), headers=headers)
    for target in ("/x%00", "/%zz", "/a b", "/..;/x"):
        stranger.request(stack.url(HOST, target.replace(" ", "%20")), headers=[("Cookie", f"CF_AUTHORIZATION={token}")])
    stranger.request(stack.url(TEAM, "/cdn-cgi/access/callback?code=a-code-of-nobody&state=a-state-of-nobody.x"))
    browser.request(
        stack.url(HOST, "/cdn-cgi/access/logout"), method="POST", headers=[("Sec-Fetch-Site", "same-origin")]
    )
    found |= _secrets_of(browser) | _secrets_of(stranger)
    found |= {"a-code-of-nobody", "application-secret-in-a-query", "client-secret-of-the-tests"}
    found |= {(stack.directory / "secret").read_text().strip()}
    return {text for text in found if len(text) > 11}


def _secrets_of(browser: Browser) -> set[str]:
    cookies = {value for jar in browser.cookies.values() for value in jar.values()}
    for answer in browser.history:
        cookies |= {line.partition(";")[0].partition("=")[2] for line in answer.get_all("Set-Cookie")}
    parts = {part for value in cookies for part in value.split(".") if part}
    addresses = [address for answer in browser.history for address in (answer.url, answer.location)]
    queries = [parse_qs(urlsplit(address).query) for address in addresses]
    values = {value for query in queries for name in SECRET_PARAMETERS for value in query.get(name, [])}
    return cookies | parts | values


def _written(stack: Stack) -> dict[str, str]:
    # At its level "info", which the tests ask for, nginx quotes header lines that it refuses. The default is "error".
    errors = [line for line in stack.nginx.error_log.splitlines() if " [info] " not in line]
    texts = {"authd.log": stack.log_text, "error.log": "\n".join(errors)}
    texts["metrics"] = stack.fetch_authd("/metrics")[1].decode()
    texts["readyz"] = stack.fetch_authd("/readyz")[1].decode()
    return texts


def test_there_is_something_to_find(stack: Stack, secrets: set[str]) -> None:
    assert len(secrets) > 15
    assert any(text.count(".") == 2 and text.startswith("eyJ") for text in secrets)
    written = _written(stack)
    assert "alice@example.com" in written["authd.log"]
    assert "authd_decisions_total" in written["metrics"]


def test_nothing_that_was_written_holds_a_secret(stack: Stack, secrets: set[str]) -> None:
    for name, text in _written(stack).items():
        assert [secret for secret in secrets if secret in text] == [], name
        assert not re.search(r"eyJ[\w-]{10,}\.[\w-]{10,}\.", text), name
        assert "PRIVATE KEY" not in text


def test_the_store_holds_no_secret_in_clear(stack: Stack, secrets: set[str]) -> None:
    """Whoever can read the database cannot log in: tokens are in no row, and keys, sessions and codes are sealed."""
    stored = b"".join(path.read_bytes() for path in (stack.directory / "authd.db").resolve().parent.glob("authd.db*"))
    assert stored
    tokens = [secret for secret in secrets if secret.startswith("eyJ")]
    assert tokens
    assert [token for token in tokens if token.encode() in stored] == []
    for text in (b"PRIVATE KEY", b"alice@example.com", b"client-secret-of-the-tests"):
        assert text not in stored


def test_no_answer_tells_another_host_where_its_reader_was(stack: Stack) -> None:
    """One-time codes stand in addresses: no page or redirect of authd lets a browser send them on."""
    browser = stack.log_in(stack.url(HOST), "alice")
    ours = [answer for answer in browser.history if "/cdn-cgi/access/" in answer.url]
    assert len(ours) >= 3
    for answer in ours:
        assert answer.get("Referrer-Policy") == "no-referrer", answer.url
        assert "no-store" in answer.get("Cache-Control"), answer.url
