"""`make demo ARGS=--check`: what the page tells a person to try, tried by script."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import requests

from tests.demo.configuration import ALICE, MALLORY
from tests.demo.settings import APPLICATIONS, DemoError, Settings
from tests.harness.idp import Person
from tests.harness.loopback import resolve_localhost_names

TIMEOUT_SECONDS = 10
# What authd promises: nginx may have the last answer for a second, and a worker asks twice a second who is out.
REVOCATION_SECONDS = 2
PAGE = "text/html,application/xhtml+xml,*/*;q=0.8"
GRAFANA, WIKI = APPLICATIONS


class Visitor:
    """A browser, as far as `requests` is one: it follows redirects, keeps cookies and trusts the demonstration's CA."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(settings.ca_file)

    def open(self, host: str, path: str = "/", accept: str = PAGE) -> requests.Response:
        url = self._settings.url(host) + path
        return self._session.get(url, headers={"Accept": accept}, timeout=TIMEOUT_SECONDS)

    def follow_link(self, host: str, path: str) -> requests.Response:
        """As a click on a page of the same host."""
        headers = {"Accept": PAGE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        return self._session.get(self._settings.url(host) + path, headers=headers, timeout=TIMEOUT_SECONDS)

    def choose(self, page: requests.Response, person: Person) -> requests.Response:
        """Press the person's button on the provider's page."""
        if f'value="{person.account}"' not in page.text:
            raise DemoError(f"this is not the provider's page: {page.status_code} {page.url}\n{page.text[-400:]}")
        return self._session.post(page.url, data={"account": person.account}, timeout=TIMEOUT_SECONDS)


def check_journey(settings: Settings) -> Iterator[str]:
    """Walks through the demonstration; yields a sentence for each thing that is as it should be.

    Raises DemoError at the first that is not.
    """
    with resolve_localhost_names():
        for step in _STEPS:
            yield step(settings)


def _a_script_is_told_to_log_in(settings: Settings) -> str:
    answer = Visitor(settings).open(GRAFANA.host, "/api", accept="application/json")
    _require(answer, answer.status_code == 401 and "json" in answer.headers["Content-Type"], "a JSON answer with 401")
    return "a script without a session gets 401 and JSON, no redirect"


def _alice_is_let_in(settings: Settings) -> str:
    visitor = Visitor(settings)
    path = "/dashboards?from=now-6h&to=now"
    page = visitor.choose(visitor.open(GRAFANA.host, path), ALICE)
    _require(page, page.ok and page.url == settings.url(GRAFANA.host) + path, "the page that was asked for first")
    _require(page, str(ALICE.claims["email"]) in page.text, "the application that names Alice")
    other = visitor.open(WIKI.host, "/api")
    claims = other.json()["claims"] if other.ok else {}
    _require(other, claims.get("email") == ALICE.claims["email"], "the second application without a second login")
    return "Alice logs in once and is let in to both applications, which verified who she is"


def _mallory_is_not(settings: Settings) -> str:
    visitor = Visitor(settings)
    page = visitor.choose(visitor.open(GRAFANA.host), MALLORY)
    _require(page, page.status_code == 403 and str(MALLORY.claims["email"]) in page.text, "a page with 403 for Mallory")
    again = visitor.open(GRAFANA.host, "/api", accept="application/json")
    _require(again, again.status_code in (401, 403), "no way in for Mallory")
    return "Mallory logs in and is told that no policy lets her in"


def _a_logout_ends_it_everywhere(settings: Settings) -> str:
    visitor = Visitor(settings)
    visitor.choose(visitor.open(GRAFANA.host), ALICE)
    visitor.open(WIKI.host)
    page = visitor.follow_link(GRAFANA.host, "/cdn-cgi/access/logout")
    _require(page, page.ok, "a page that says good-bye")
    time.sleep(REVOCATION_SECONDS)
    for application in APPLICATIONS:
        asked = visitor.open(application.host)
        _require(asked, asked.url.startswith(settings.provider_issuer), "the provider's question, after a logout")
    return f"Alice logs out of one application and, within {REVOCATION_SECONDS} seconds, is out of both"


def _an_unknown_host_is_refused(settings: Settings) -> str:
    try:
        answer = Visitor(settings).open("unknown.localhost")
    except requests.ConnectionError:
        return "a host that nobody named is refused"
    raise DemoError(f"unknown.localhost answered {answer.status_code}")


_STEPS: tuple[Callable[[Settings], str], ...] = (
    _a_script_is_told_to_log_in,
    _alice_is_let_in,
    _mallory_is_not,
    _a_logout_ends_it_everywhere,
    _an_unknown_host_is_refused,
)


def _require(answer: requests.Response, is_as_wanted: bool, wanted: str) -> None:
    if not is_as_wanted:
        way = " -> ".join(str(hop.status_code) for hop in (*answer.history, answer))
        raise DemoError(f"expected {wanted}, but got {way} at {answer.url}\n{answer.text[-600:]}")
