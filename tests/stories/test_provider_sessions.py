"""Sessions at the provider: its word that somebody logged out there, and logging out there from here.

The provider is the certified one. Its logout tokens are handed on by the test, since the provider cannot look up the
hosts of tests; nothing in them is changed but where that is the story.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.harness.browser import NAVIGATION, Browser
from tests.harness.stack import TEAM, Stack, start_stack
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
GRAFANA = "grafana.test"
LOGOUT = "/cdn-cgi/access/logout"
BACKCHANNEL = "/cdn-cgi/access/backchannel-logout"
OWN_FORM = (*NAVIGATION[:3], ("Sec-Fetch-Site", "same-origin"))
WITHIN_SECONDS = 2.0


class Receiver:
    """Where the provider posts its logout tokens."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        tokens = self.tokens

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                tokens.append(parse_qs(body)["logout_token"][0])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing to say."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/logout"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Stack]:
    client = {
        "backchannel_logout_uri": receiver.url,
        "backchannel_logout_session_required": True,
        "post_logout_redirect_uris": ["https://grafana.test/", "https://elsewhere.example/goodbye"],
    }
    settings = {"workers": 2, "logout_return_urls": ["https://elsewhere.example/goodbye"]}
    with start_stack(
        tmp_path_factory.mktemp("provider-sessions"),
        settings=settings,
        client_settings=client,
        provider_settings={"logout_at_provider": True},
    ) as started:
        yield started


def log_in(stack: Stack) -> tuple[Browser, requests.Session]:
    """The browser, and what the provider knows of it."""
    browser, at_provider = stack.browser(), requests.Session()
    answer = browser.visit(stack.url(GRAFANA), stop_at=stack.provider.issuer)
    browser.visit(stack.provider.log_in(answer.location, "alice", session=at_provider))
    assert is_in(stack, browser)
    return browser, at_provider


def is_in(stack: Stack, browser: Browser) -> bool:
    return browser.request(stack.url(GRAFANA)).status == 200


def log_out_at(stack: Stack, at_provider: requests.Session) -> None:
    page = at_provider.get(f"{stack.provider.issuer}/session/end", timeout=10)
    action = re.search(r'action="([^"]+)"', page.text)
    xsrf = re.search(r'name="xsrf" value="([^"]+)"', page.text)
    assert action
    assert xsrf
    at_provider.post(action[1], data={"xsrf": xsrf[1], "logout": "yes"}, timeout=10, allow_redirects=False)


def tell(stack: Stack, token: str) -> int:
    return stack.browser().request(stack.url(TEAM, BACKCHANNEL), method="POST", form={"logout_token": token}).status


def test_who_logs_out_at_the_provider_is_out_here_within_two_seconds_and_nobody_else_is(
    stack: Stack, receiver: Receiver
) -> None:
    gone, at_provider = log_in(stack)
    other, _ = log_in(stack)
    before = len(receiver.tokens)

    log_out_at(stack, at_provider)
    wait_until(lambda: len(receiver.tokens) > before, "the provider says so")
    token = receiver.tokens[-1]
    assert tell(stack, token) == 200

    wait_until(lambda: not is_in(stack, gone), "out", WITHIN_SECONDS)
    assert is_in(stack, other), "another session of the same person, at the provider as well"
    assert tell(stack, token) == 200, "once more is no error, and ends nothing"
    assert is_in(stack, other)


@pytest.mark.parametrize("forge", ["cut", "empty", "id token", "algorithm"])
def test_what_the_provider_did_not_say_ends_nothing(stack: Stack, receiver: Receiver, forge: str) -> None:
    browser, _ = log_in(stack)
    token = receiver.tokens[-1]
    head, payload, signature = token.split(".")
    forged = {
        "cut": token[:-6] + "AAAAAA",
        "empty": "",
        "id token": browser.cookies[GRAFANA]["CF_AUTHORIZATION"],
        "algorithm": f"eyJhbGciOiJub25lIn0.{payload}.",
    }[forge]
    assert tell(stack, forged) == 400
    assert is_in(stack, browser)
    assert head
    assert signature


def test_nonsense_does_not_fill_the_log(stack: Stack) -> None:
    before = len(stack.events("logout.refused"))
    for number in range(20):
        assert tell(stack, f"nonsense-{number}") == 400

    # Two workers, and a minute may begin in between.
    assert len(stack.events("logout.refused")) - before <= 4


def test_who_sends_bad_tokens_again_and_again_is_told_to_wait_and_nobody_else_is(
    stack: Stack, receiver: Receiver
) -> None:
    browser, at_provider = log_in(stack)
    known = len(receiver.tokens)
    log_out_at(stack, at_provider)
    wait_until(lambda: len(receiver.tokens) > known, "the provider says so")
    loaded = len(stack.events("config.loaded"))
    stack.write_config(login_rate_limit={"per_address": 3, "per_person": 1000, "window": "1m"})
    stack.reload()
    wait_until(lambda: len(stack.events("config.loaded")) >= loaded + 2, "both workers have it")
    forger = stack.browser(source_address="127.0.0.66")
    url, form = stack.url(TEAM, BACKCHANNEL), {"logout_token": receiver.tokens[-1][:-6] + "AAAAAA"}

    answers = [forger.request(url, method="POST", form=form) for _ in range(12)]

    assert [answer.status for answer in answers[:2]] == [400, 400]
    assert answers[-1].status == 429
    assert 0 < int(answers[-1].get("Retry-After")) <= 60
    assert answers[-1].json() == {"error": "too_many_requests"}
    assert tell(stack, receiver.tokens[-1]) == 200, "the provider itself comes from elsewhere"
    wait_until(lambda: not is_in(stack, browser), "out", WITHIN_SECONDS)
    stack.write_config(login_rate_limit={"per_address": 1000, "per_person": 1000, "window": "1m"})
    stack.reload()
    wait_until(lambda: len(stack.events("config.loaded")) >= loaded + 4, "both workers have the old one")


def test_a_get_is_no_logout(stack: Stack) -> None:
    assert stack.browser().request(stack.url(TEAM, f"{BACKCHANNEL}?logout_token=x")).status in (403, 404, 405)


def test_logging_out_everywhere_goes_on_to_the_provider(stack: Stack) -> None:
    browser, _ = log_in(stack)

    answer = browser.request(stack.url(GRAFANA, LOGOUT), method="POST", headers=OWN_FORM, form={})

    found = re.search(r'content="0; url=([^"]+)"', answer.text)
    assert found
    target = urlsplit(found[1].replace("&amp;", "&"))
    query = parse_qs(target.query)
    assert f"{target.scheme}://{target.netloc}" == stack.provider.issuer
    assert query["client_id"] == ["authd"]
    assert query["post_logout_redirect_uri"] == [stack.url(GRAFANA)]
    # The provider accepts the hint as its own; it would refuse a foreign one.
    hint = {"id_token_hint": query["id_token_hint"][0], "client_id": "authd"}
    assert requests.get(f"{stack.provider.issuer}/session/end", params=hint, timeout=10).status_code == 200
    wait_until(lambda: not is_in(stack, browser), "out", WITHIN_SECONDS)


def test_leaving_one_application_leaves_the_others_and_says_that_the_login_goes_on(stack: Stack) -> None:
    browser, _ = log_in(stack)
    wiki = stack.url("wiki.other.example")
    assert browser.visit(wiki).status == 200
    stolen = Browser(stack.port, {GRAFANA: dict(browser.cookies[GRAFANA])})

    form = {"scope": "application"}
    answer = browser.request(stack.url(GRAFANA, LOGOUT), method="POST", headers=OWN_FORM, form=form)

    assert "The login still knows you" in answer.text
    assert stack.provider.issuer not in answer.text
    wait_until(lambda: not is_in(stack, stolen), "its token has ended, wherever it is", WITHIN_SECONDS)
    assert browser.request(wiki).status == 200
    wait_until(lambda: browser.visit(stack.url(GRAFANA)).status == 200, "in again, with a new token", 4)


@pytest.mark.parametrize("host", [GRAFANA, TEAM])
@pytest.mark.parametrize("target", ["https://grafana.test{port}/d/1?x=y", "https://elsewhere.example/goodbye"])
def test_a_logout_leads_where_it_may(stack: Stack, host: str, target: str) -> None:
    browser, _ = log_in(stack)
    target = target.format(port=f":{stack.port}")
    asked = browser.request(stack.url(host, f"{LOGOUT}?returnTo={target.replace('?', '%3F')}"))
    assert asked.status == 200
    assert 'name="return_to"' in asked.text
    answer = browser.request(stack.url(host, LOGOUT), method="POST", headers=OWN_FORM, form={"return_to": target})
    found = re.search(r'content="0; url=([^"]+)"', answer.text)
    assert found
    query = parse_qs(urlsplit(found[1].replace("&amp;", "&")).query)
    assert query["post_logout_redirect_uri"] == [target]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "https://grafana.test@evil.example/",
        "https://grafana.test.evil.example/",
        "http://grafana.test/",
        "https://elsewhere.example/other",
        "https:/\\evil.example/",
        "javascript:alert(1)",
        "https://grafana.test%2f@evil.example/",
        "https://grafana.test:1/",
    ],
)
def test_a_logout_leads_nowhere_else_and_logs_nobody_out(stack: Stack, target: str) -> None:
    browser, _ = log_in(stack)
    answer = browser.request(stack.url(GRAFANA, f"{LOGOUT}?returnTo={target}"))
    assert (answer.status, "Invalid redirect URL" in answer.text) == (400, True)
    posted = browser.request(stack.url(TEAM, LOGOUT), method="POST", headers=OWN_FORM, form={"return_to": target})
    assert (posted.status, "Invalid redirect URL" in posted.text) == (400, True)
    assert "evil" not in posted.text
    assert is_in(stack, browser)


def test_a_person_sees_their_sessions_and_ends_one_or_all_others(stack: Stack) -> None:
    here, _ = log_in(stack)
    there, _ = log_in(stack)
    mallory = stack.browser()
    home = here.request(stack.url(TEAM)).text
    ids = re.findall(r'name="session" value="([A-Za-z0-9]{16})"', home)
    assert len(ids) >= 2
    assert "this browser" in home
    end = stack.url(TEAM, "/cdn-cgi/access/end-session")
    for browser, headers in ((mallory, OWN_FORM), (here, (*NAVIGATION[:3], ("Sec-Fetch-Site", "cross-site")))):
        browser.request(end, method="POST", headers=headers, form={"session": "all"})
    assert is_in(stack, here)
    assert is_in(stack, there)

    token = re.search(r'name="token" value="([0-9a-f]+)"', home)
    assert token
    here.request(end, method="POST", headers=OWN_FORM, form={"session": "others", "token": token[1]})

    wait_until(lambda: not is_in(stack, there), "ended from here", WITHIN_SECONDS)
    assert is_in(stack, here)
    assert len(re.findall(r'name="session" value="[A-Za-z0-9]{16}"', here.request(stack.url(TEAM)).text)) == 1
