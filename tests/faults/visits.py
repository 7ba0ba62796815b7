"""What visitors do while something in authd goes wrong: requests, each with the order for a fault in its query."""

from __future__ import annotations

import copy
import json
import random
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from authd.sessions import POLL_SECONDS
from tests.faults import other_visits as other
from tests.faults.failpoint_log import FailpointLog
from tests.faults.partners import Partners, running_partners
from tests.harness.browser import Answer, Browser
from tests.harness.idp import Person
from tests.harness.stack import ALICE, DEFAULT_APPLICATIONS, MALLORY, Stack, start_stack

HOST, OTHER_HOST, TEAM = "grafana.test", "wiki.other.example", "auth.test"
PREFIX = "/cdn-cgi/access"
BOB = Person("bob", {"email": "bob@example.com", "email_verified": True, "groups": []})
CAROL = Person("carol", {"email": "carol@example.com", "email_verified": True, "groups": []})
COOKIE = "CF_AUTHORIZATION"
_OWN_FORM = (("Sec-Fetch-Site", "same-origin"), ("Accept", "text/html"))


@dataclass(frozen=True, slots=True)
class Machine:
    """A service token that may open the first application."""

    client_id: str
    client_secret: str


@dataclass(slots=True)
class Scene:
    """Alice may open both applications; Bob could until his policy changed; Carol logged out and kept her cookie."""

    stack: Stack
    log: FailpointLog
    alice: Browser
    bob: Browser
    carol: Browser
    mallory: Browser
    forger: Browser
    machine: Machine
    partners: Partners
    case_number: int = field(default=0)

    def reached(self, case: str) -> bool:
        """Whether the application has seen a request of this case."""
        return any(f"fp={case}~" in request.target for request in list(self.stack.application.seen))


Go = Callable[[Scene, str], Answer]


@dataclass(frozen=True, slots=True)
class Visit:
    """One kind of request. `where` is authd's path that it leads to; `may_pass` if the application may see it.

    `is_dear` if each takes a whole login to begin with. `is_narrow` if only those steps are broken that no visit before
    it leads through. `last` is the step at which what happens behind the visitor's back has come to its end.
    """

    name: str
    where: str
    go: Go
    may_pass: bool = False
    is_dear: bool = False
    is_narrow: bool = False
    last: str = ""


def _log_in(scene: Scene) -> Browser:
    for _ in range(10):
        browser = scene.stack.browser()
        if scene.stack.try_log_in(scene.stack.url(HOST), "alice", browser).status == 200:
            return browser
    raise AssertionError("nobody can log in")


def _page(who: str) -> Go:
    def go(scene: Scene, order: str) -> Answer:
        browser = copy.deepcopy(getattr(scene, who)) if who else scene.stack.browser()
        return browser.request(scene.stack.url(HOST, f"/?fp={order}"))

    return go


def _endpoint(who: str, host: str, path: str, method: str = "GET") -> Go:
    def go(scene: Scene, order: str) -> Answer:
        browser = copy.deepcopy(getattr(scene, who)) if who else scene.stack.browser()
        url = scene.stack.url(host, f"{path}?fp={order}")
        return browser.request(url, method=method, form={} if method == "POST" else None)

    return go


def _login(who: str) -> Go:
    """The team host's login, with what the application's host says about this browser."""

    def go(scene: Scene, order: str) -> Answer:
        browser = copy.deepcopy(getattr(scene, who)) if who else scene.stack.browser()
        browser.cookies.pop(HOST, None)
        return browser.request(f"{other.follow(browser, scene.stack.url(HOST))}&fp={order}")

    return go


def _callback(account: str) -> Go:
    def go(scene: Scene, order: str) -> Answer:
        browser = scene.stack.browser()
        at_provider = other.follow(browser, other.follow(browser, scene.stack.url(HOST)))
        callback_url = scene.stack.provider.log_in(at_provider, account)
        return browser.request(f"{callback_url}&fp={order}")

    return go


def _redeem(is_thief: bool) -> Go:
    """The application's host gets a one-time code of Alice: from her browser, or from one that she never saw."""

    def go(scene: Scene, order: str) -> Answer:
        alice = copy.deepcopy(scene.alice)
        alice.cookies.pop(HOST, None)
        redeem_url = other.follow(alice, other.follow(alice, scene.stack.url(HOST)))
        browser = scene.stack.browser() if is_thief else alice
        return browser.request(f"{redeem_url}&fp={order}")

    return go


def _log_out(host: str, scope: str = "") -> Go:
    def go(scene: Scene, order: str) -> Answer:
        browser = _log_in(scene)
        url = scene.stack.url(host, f"{PREFIX}/logout?fp={order}")
        return browser.request(url, method="POST", form={"scope": scope} if scope else {}, headers=_OWN_FORM)

    return go


def _end_session(scene: Scene, order: str) -> Answer:
    """One's own from the launcher, where it stands first."""
    browser = _log_in(scene)
    for _ in range(10):  # as in `_follow`
        page = browser.request(scene.stack.url(TEAM))
        if page.status == 200:
            break
        sleep(0.1)
    token = re.search(r'name="token" value="([0-9a-f]+)"', page.text)
    session = re.search(r'name="session" value="([^"]{12,})"', page.text)
    assert token, page
    assert session, page
    url = scene.stack.url(TEAM, f"{PREFIX}/end-session?fp={order}")
    return browser.request(url, method="POST", form={"token": token[1], "session": session[1]}, headers=_OWN_FORM)


def _machine(*, is_genuine: bool) -> Go:
    def go(scene: Scene, order: str) -> Answer:
        browser = scene.stack.browser()
        secret = scene.machine.client_secret
        if not is_genuine:
            # From anywhere: an address that has guessed too often is refused before anybody looks.
            browser.source_address = (
                f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
            )
            # Each wrong in its own way: nonsense that a fault put in place of an answer is remembered for that secret.
            secret = secrets.token_hex(32)
        headers = (("CF-Access-Client-Id", scene.machine.client_id), ("CF-Access-Client-Secret", secret))
        return browser.request(scene.stack.url(HOST, f"/?fp={order}"), headers=headers)

    return go


def _narrow(name: str, where: str, go: Go, *, may_pass: bool = False, last: str = "") -> Visit:
    return Visit(name, where, go, may_pass, is_dear=True, is_narrow=True, last=last)


VISITS = (
    Visit("anonymous", "auth", _page("")),
    Visit("forged token", "auth", _page("forger")),
    Visit("excluded person", "auth", _page("bob")),
    Visit("ended session", "auth", _page("carol")),
    Visit("another application's token", "auth", _page("mallory")),
    Visit("admitted person", "auth", _page("alice"), may_pass=True),
    Visit("machine with a wrong secret", "auth", _machine(is_genuine=False)),
    Visit("admitted machine", "auth", _machine(is_genuine=True), may_pass=True),
    Visit("challenge of a stranger", "challenge", _page("")),
    Visit("challenge of an excluded person", "challenge", _page("bob")),
    Visit("login of a stranger", "team", _login("")),
    Visit("login of an excluded person", "team", _login("mallory")),
    Visit("login of an admitted person", "team", _login("alice")),
    Visit("callback of an excluded person", "team", _callback("mallory"), is_dear=True),
    Visit("callback of an admitted person", "team", _callback("alice"), is_dear=True),
    Visit("code of an admitted person", "app", _redeem(is_thief=False)),
    Visit("stolen code", "app", _redeem(is_thief=True)),
    Visit("logout at the application", "app", _log_out(HOST), is_dear=True),
    Visit("logout at the team", "team", _log_out(TEAM), is_dear=True),
    Visit("logout of one application", "app", _log_out(HOST, "application"), is_dear=True),
    Visit("end of a session", "team", _end_session, is_dear=True),
    Visit("logout page at the application", "app", _endpoint("alice", HOST, f"{PREFIX}/logout")),
    Visit("logout page at the team", "team", _endpoint("alice", TEAM, f"{PREFIX}/logout")),
    Visit("identity at the application", "app", _endpoint("alice", HOST, f"{PREFIX}/get-identity")),
    Visit("identity at the team", "team", _endpoint("alice", TEAM, f"{PREFIX}/get-identity")),
    Visit("launcher", "team", _endpoint("alice", TEAM, "/")),
    Visit("login with another account", "app", _endpoint("alice", HOST, f"{PREFIX}/login")),
    Visit("keys", "app", _endpoint("", HOST, f"{PREFIX}/certs")),
    Visit("style sheet", "app", _endpoint("", HOST, f"{PREFIX}/style.css")),
    Visit("method that no endpoint has", "app", _endpoint("", HOST, f"{PREFIX}/certs", "DELETE")),
    # Other ways in (tests/faults/other_visits.py). Their steps before and behind those of their own are broken above.
    _narrow("identity for an application", "team", other.ask_who_one_is_as_an_application),
    _narrow("job", "auth", other.send_job(), may_pass=True),
    _narrow("job with a stranger's token", "auth", other.send_job(key="stranger")),
    _narrow("person from another edge", "auth", other.come_from_edge(), may_pass=True),
    _narrow("person from another edge with a stranger's token", "auth", other.come_from_edge(key="stranger")),
    _narrow("identity behind an edge that is gone", "app", other.ask_who_one_is_behind_a_lost_edge),
    _narrow("evaluated person", "team", other.begin_at("evaluated.test", "alice")),
    _narrow("login at GitHub", "team", other.begin_at("hub.test")),
    _narrow("callback from GitHub", "team", other.come_from_github),
    _narrow("logout of somebody from GitHub", "team", other.log_out_github),
    _narrow("login by a code", "team", other.begin_at("guests.test")),
    _narrow("page of a login by a code", "team", other.look_at_code_page),
    _narrow("order of a code", "team", other.ask_for_code, last="PinRows.take_mail"),
    _narrow("order of another code", "team", other.ask_for_another_code, last="PinRows.take_mail"),
    _narrow("code", "team", other.type_code),
    _narrow("callback where a code was wanted", "team", other.come_back_without_code),
    _narrow("logout of a guest", "team", other.log_out_guest),
    _narrow("provider's logout of a session", "team", other.tell_logout(sid="a-session-of-theirs")),
    _narrow("provider's logout of a person", "team", other.tell_logout(sub="a-person-of-theirs")),
    _narrow("stranger's logout", "team", other.tell_logout(key="stranger", sub="a-person-of-theirs")),
)


@contextmanager
def set_scene(directory: Path) -> Iterator[Scene]:
    """A stack whose authd has every failpoint, and the people in it. nginx waits 2 s for whatever it asks."""
    with (
        running_partners(directory) as partners,
        _start(directory, partners) as stack,
        closing(FailpointLog(directory / "failpoints.log")) as log,
    ):
        _shorten_waits(stack)
        mallory = stack.log_in(stack.url(OTHER_HOST), "mallory")
        mallory.cookies[HOST] = {COOKIE: mallory.cookies[OTHER_HOST][COOKIE]}
        alice, bob, carol = (stack.log_in(stack.url(HOST), name) for name in ("alice", "bob", "carol"))
        forger = stack.browser()
        forger.cookies[HOST] = {COOKIE: _forge(alice.cookies[HOST][COOKIE])}
        kept = copy.deepcopy(carol)
        carol.request(stack.url(HOST, f"{PREFIX}/logout"), method="POST", form={}, headers=())
        _exclude_bob(stack, bob)
        machine = _make_machine(stack)
        prepared = Scene(stack, log, alice, bob, kept, mallory, forger, machine, partners)
        _make_known(prepared)
        yield prepared


def _make_known(scene: Scene) -> None:
    """Until each worker knows everybody, as it does every day: else a step of a first visit is not one of the next.

    One by one the same worker could take them all.
    """
    # The machine is new: each worker forgets it once, when it hears that.
    sleep(3 * POLL_SECONDS)
    visits = [visit for visit in VISITS if visit.where == "auth" and not visit.is_narrow] * 24
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda visit: visit.go(scene, "warm~none~none"), visits))


def _start(directory: Path, partners: Partners) -> AbstractContextManager[Stack]:
    company = [each | {"allowed_idps": ["corp"]} for each in DEFAULT_APPLICATIONS]
    return start_stack(
        directory,
        applications=[*company, *partners.describe_applications()],
        people=(ALICE, BOB, CAROL, MALLORY),
        settings={
            "decision_cache_seconds": 0,
            "workers": 2,
            "idle_timeout": "1h",
            "login_rate_limit": {"per_address": 100_000, "per_person": 100_000, "window": "1m"},
            "token_issuers": partners.describe_token_issuers(),
        },
        program=("tests.faults.serve_with_failpoints",),
        more_providers=partners.describe_providers(),
    )


def _make_machine(stack: Stack) -> Machine:
    command = [sys.executable, "-m", "authd.cli", "service-tokens", "create", "ci", "--json"]
    command += ["--config", str(stack.directory / "authd.yml")]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout)
    return Machine(made["client_id"], made["client_secret"])


def _forge(token: str) -> str:
    head, payload, signature = token.split(".")
    return f"{head}.{payload}.{signature[:20]}{'A' if signature[20] != 'A' else 'B'}{signature[21:]}"


def _shorten_waits(stack: Stack) -> None:
    for file in (stack.directory / "authd").glob("*.conf"):
        file.write_text(re.sub(r"proxy_read_timeout \d\ds", "proxy_read_timeout 2s", file.read_text()))
    stack.nginx.reload()


def _exclude_bob(stack: Stack, bob: Browser) -> None:
    grafana, *others = copy.deepcopy(stack.config["applications"])
    grafana["policies"][0]["exclude"] = [{"email": "bob@example.com"}]
    machines = {"name": "Machines", "decision": "non_identity", "include": [{"any_valid_service_token": True}]}
    grafana["policies"].append(machines)
    stack.write_config(applications=[grafana, *others])
    stack.reload()
    wait_until(lambda: bob.request(stack.url(HOST)).status == 403)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Fails if the condition does not come true in time: far more than it takes, for a machine that does much else."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it did not come true in time"
        sleep(0.05)
