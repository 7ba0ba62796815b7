"""Each kind of request gets the answer that its sender can use, and none of them reaches the application unasked."""

from __future__ import annotations

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import NAVIGATION, Answer, Browser
from tests.harness.stack import TEAM, Stack

Headers = tuple[tuple[str, str], ...]

FETCH: Headers = (("Accept", "*/*"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"))
WEBSOCKET: Headers = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)
NAVIGATIONS: dict[str, Headers] = {
    "a browser's navigation": NAVIGATION,
    "a page in a frame": (("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")),
    "an old browser": (("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),),
    "curl": (("Accept", "*/*"),),
    "nothing said": (),
}
SCRIPTS: dict[str, Headers] = {
    "fetch": FETCH,
    "fetch of HTML": (("Accept", "text/html"), *FETCH[1:]),
    "XMLHttpRequest by convention": (("Accept", "*/*"), ("X-Requested-With", "XMLHttpRequest")),
    "a client of an API": (("Accept", "application/json"),),
    "a client of an API that takes anything too": (("Accept", "application/json, */*;q=0.5"),),
    "an image": (("Accept", "image/avif,*/*"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")),
    "a service worker": (("Accept", "*/*"), ("Sec-Fetch-Mode", "same-origin"), ("Sec-Fetch-Dest", "serviceworker")),
    "a WebSocket": WEBSOCKET,
    "a WebSocket of a browser": (*WEBSOCKET, ("Sec-Fetch-Mode", "websocket"), ("Sec-Fetch-Dest", "empty")),
}


def ask_anonymously(stack: Stack, headers: Headers, method: str = "GET", path: str = "/d/1?tab=2&x=%26") -> Answer:
    return stack.browser().request(stack.url("grafana.test", path), method=method, headers=headers)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", NAVIGATIONS.values(), ids=NAVIGATIONS)
def test_somebody_who_looks_at_the_answer_is_taken_to_the_login(stack: Stack, headers: Headers, method: str) -> None:
    answer = ask_anonymously(stack, headers, method)

    assert answer.status == 302
    assert answer.location.startswith(stack.url(TEAM, "/cdn-cgi/access/login/grafana.test?kid="))
    assert "&redirect_url=%2Fd%2F1%3Ftab%3D2%26x%3D%2526&meta=" in answer.location
    assert answer.get("Set-Cookie").startswith("__Host-CF_AppSession=")
    assert answer.get("Cache-Control") == "no-store"
    assert answer.body == b""
    assert stack.application.count == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("headers", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_gets_401_and_never_a_redirect(stack: Stack, headers: Headers, method: str) -> None:
    answer = ask_anonymously(stack, headers, method)

    assert answer.status == 401
    assert answer.get("Location") == ""
    assert answer.get("Content-Type") == "application/json"
    assert answer.get("Cache-Control") == "no-store"
    assert answer.get_all("WWW-Authenticate") == ['Cloudflare-Access realm="authd"']
    if method != "HEAD":
        assert answer.json()["error"] == "login_required"
    assert stack.application.count == 0


def test_the_login_address_that_a_script_gets_leads_a_person_in(stack: Stack) -> None:
    address = ask_anonymously(stack, FETCH).json()["login_url"]

    assert address.startswith(stack.url(TEAM, "/cdn-cgi/access/login/grafana.test?"))
    browser = stack.log_in(address, "alice")
    assert browser.history[-1].json()["application"] is True


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FROBNICATE"])
def test_a_form_without_a_session_is_told_so_and_keeps_its_address(stack: Stack, method: str) -> None:
    answer = ask_anonymously(stack, NAVIGATION, method, "/save?id=7&back=%26")
    outline = PageOutline(answer.text)

    assert answer.status == 401
    assert answer.get("Location") == ""
    assert outline.get_text("h1") == "Log in to Grafana first"
    assert outline.get_text("code") == method
    assert outline.get("a")["href"] == stack.url("grafana.test", "/save?id=7&back=%26")
    assert stack.application.count == 0


def test_what_was_typed_into_a_form_never_leaves_nginx(stack: Stack) -> None:
    form = {"text": "confidential " * 10_000}

    answer = stack.browser().request(stack.url("grafana.test"), method="POST", form=form)

    assert answer.status == 401
    assert "confidential" not in answer.text + stack.log_text
    assert stack.application.count == 0


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FROBNICATE"])
@pytest.mark.parametrize("headers", [NAVIGATION, FETCH], ids=["navigation", "fetch"])
def test_with_a_session_every_method_reaches_the_application_as_it_was_sent(
    stack: Stack, alice: Browser, headers: Headers, method: str
) -> None:
    answer = alice.request(stack.url("grafana.test", "/x"), method=method, headers=headers)

    assert (answer.status, answer.json()["method"]) == (200, method)
    assert stack.application.count == 1


def test_with_a_session_head_is_answered_by_the_application_without_a_body(stack: Stack, alice: Browser) -> None:
    answer = alice.request(stack.url("grafana.test", "/x"), method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert stack.application.last.method == "HEAD"


def test_with_a_session_a_form_arrives_whole(stack: Stack, alice: Browser) -> None:
    answer = alice.request(stack.url("grafana.test"), method="POST", form={"text": "ä & b"})

    assert answer.json()["body"] == "text=%C3%A4+%26+b"


def test_with_a_session_a_websocket_is_opened_as_its_person(stack: Stack, alice: Browser) -> None:
    answer = alice.request(stack.url("grafana.test", "/live"), headers=WEBSOCKET)

    assert answer.status == 101
    assert stack.application.last.get("Upgrade") == "websocket"
    assert stack.application.last.get("X-Authd-User") == "alice@example.com"


@pytest.mark.parametrize("token", ["", "x", "eyJhbGciOiJub25lIn0.e30.", "a" * 5000, "%00", '"quoted"'])
def test_a_worthless_token_changes_nothing_about_the_answers(stack: Stack, token: str) -> None:
    browser = Browser(stack.port, {"grafana.test": {"CF_AUTHORIZATION": token}})
    url = stack.url("grafana.test")

    assert browser.request(url).status == 302
    assert browser.request(url, headers=FETCH).json()["error"] == "login_required"
    assert browser.request(url, method="POST").status == 401
    assert browser.request(url, headers=WEBSOCKET).status == 401
    assert stack.application.count == 0


@pytest.mark.parametrize("headers", [NAVIGATION, FETCH, WEBSOCKET], ids=["navigation", "fetch", "websocket"])
def test_a_public_application_asks_nobody(stack: Stack, headers: Headers) -> None:
    answer = stack.browser().request(stack.url("open.test", "/x"), headers=headers)

    assert answer.status in (101, 200)
    assert stack.application.count == 1
    assert not [name for name, _ in stack.application.last.headers if name.startswith(("Cf-Access", "X-Authd"))]
