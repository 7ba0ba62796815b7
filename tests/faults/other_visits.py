"""What those do who come another way than the company's login: by a code, from GitHub, as a job, from another edge.

And what partners say by themselves: that somebody has logged out there.
"""

from __future__ import annotations

import copy
import secrets
from time import sleep
from typing import TYPE_CHECKING

import requests

from tests.faults.partners import GONE_AUD, GONE_ISSUER
from tests.harness.browser import Answer, Browser
from tests.stories.codes import OWN_FORM, go_to_address_page, send

if TYPE_CHECKING:
    from tests.faults.visits import Go, Scene

TEAM, PREFIX = "auth.test", "/cdn-cgi/access"


def follow(browser: Browser, url: str) -> str:
    """Where a step leads that is no case yet. On a busy machine the store may need another try, as people do."""
    for _ in range(10):
        answer = browser.request(url)
        if answer.status == 302:
            return answer.location
        sleep(0.1)
    raise AssertionError((answer.status, answer.url, answer.text[:500]))


def _post(browser: Browser, page: Answer, path: str, order: str, fields: dict[str, str]) -> Answer:
    """Send a form of the code's pages; the state stands in the address of the page."""
    url = page.url.replace("/verify-code", f"/{path}")
    return browser.request(f"{url}&fp={order}", method="POST", headers=OWN_FORM, form=fields)


def _new_address() -> str:
    return f"guest-{secrets.token_hex(6)}@example.com"


def _stand_before_code(scene: Scene) -> tuple[Browser, Answer, str]:
    """A guest's browser, the page that asks for the code, and the code."""
    address = _new_address()
    for _ in range(10):  # on a busy machine the store may need another try, as people do
        browser, page = go_to_address_page(scene.stack, scene.stack.url("guests.test"))
        page = send(browser, page, {"email": address})
        if page.status == 200:
            return browser, page, scene.partners.mail.find_for(address).code
    raise AssertionError((page.status, page.text[:300]))


def ask_for_code(scene: Scene, order: str) -> Answer:
    browser, page = go_to_address_page(scene.stack, scene.stack.url("guests.test"))
    return _post(browser, page, "verify-code", order, {"email": _new_address()})


def look_at_code_page(scene: Scene, order: str) -> Answer:
    browser, page = go_to_address_page(scene.stack, scene.stack.url("guests.test"))
    return browser.request(f"{page.url}&fp={order}")


def ask_for_another_code(scene: Scene, order: str) -> Answer:
    browser, page, _ = _stand_before_code(scene)
    return _post(browser, page, "resend-code", order, {})


def type_code(scene: Scene, order: str) -> Answer:
    browser, page, code = _stand_before_code(scene)
    return _post(browser, page, "verify-code", order, {"code": code})


def log_out_guest(scene: Scene, order: str) -> Answer:
    browser, page, code = _stand_before_code(scene)
    answer = _post(browser, page, "verify-code", "none~none~none", {"code": code})
    assert answer.status == 200, (answer.status, answer.text[:300])
    return _log_out(scene, browser, order)


def come_back_without_code(scene: Scene, order: str) -> Answer:
    """To the address where providers send people, which a code never leads to."""
    browser, page = go_to_address_page(scene.stack, scene.stack.url("guests.test"))
    query = page.url.partition("?")[2]
    return browser.request(scene.stack.url(TEAM, f"{PREFIX}/callback?{query}&code=x&fp={order}"))


def begin_at(host: str, who: str = "") -> Go:
    """The team host's login for an application with a way in of its own."""

    def go(scene: Scene, order: str) -> Answer:
        browser = copy.deepcopy(getattr(scene, who)) if who else scene.stack.browser()
        return browser.request(f"{follow(browser, scene.stack.url(host))}&fp={order}")

    return go


def _go_to_github(scene: Scene) -> tuple[Browser, str]:
    browser = scene.stack.browser()
    at_github = follow(browser, follow(browser, scene.stack.url("hub.test")))
    return browser, requests.get(at_github, allow_redirects=False, timeout=10).headers["Location"]


def come_from_github(scene: Scene, order: str) -> Answer:
    browser, callback_url = _go_to_github(scene)
    return browser.request(f"{callback_url}&fp={order}")


def log_out_github(scene: Scene, order: str) -> Answer:
    browser, callback_url = _go_to_github(scene)
    follow(browser, callback_url)
    return _log_out(scene, browser, order)


def _log_out(scene: Scene, browser: Browser, order: str) -> Answer:
    url = scene.stack.url(TEAM, f"{PREFIX}/logout?fp={order}")
    return browser.request(url, method="POST", form={}, headers=OWN_FORM)


def send_job(*, key: str = "provider-1") -> Go:
    def go(scene: Scene, order: str) -> Answer:
        headers = (("Accept", "*/*"), ("Authorization", f"Bearer {scene.partners.sign_job(key)}"))
        return scene.stack.browser().request(scene.stack.url("api.test", f"/?fp={order}"), headers=headers)

    return go


def come_from_edge(*, key: str = "provider-1") -> Go:
    def go(scene: Scene, order: str) -> Answer:
        headers = (("Accept", "text/html"), ("Cf-Access-Jwt-Assertion", scene.partners.sign_person(key)))
        return scene.stack.browser().request(scene.stack.url("behind.test", f"/?fp={order}"), headers=headers)

    return go


def ask_who_one_is_behind_a_lost_edge(scene: Scene, order: str) -> Answer:
    browser = scene.stack.browser()
    token = scene.partners.sign_person(issuer=GONE_ISSUER, audience=GONE_AUD)
    browser.cookies["gone.test"] = {"CF_Authorization": token}
    return browser.request(scene.stack.url("gone.test", f"{PREFIX}/get-identity?fp={order}"))


def ask_who_one_is_as_an_application(scene: Scene, order: str) -> Answer:
    """With the token that it was shown, on the team host."""
    browser = scene.stack.browser()
    browser.cookies[TEAM] = {"CF_Authorization": scene.alice.cookies["grafana.test"]["CF_AUTHORIZATION"]}
    return browser.request(scene.stack.url(TEAM, f"{PREFIX}/get-identity?fp={order}"))


def tell_logout(*, key: str = "provider-1", **named: str) -> Go:
    def go(scene: Scene, order: str) -> Answer:
        url = scene.stack.url(TEAM, f"{PREFIX}/backchannel-logout?fp={order}")
        form = {"logout_token": scene.partners.sign_logout(key, **named)}
        return scene.stack.browser().request(url, method="POST", form=form)

    return go
