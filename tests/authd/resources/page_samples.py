"""One sample of every page, with ordinary values and with the worst ones, for the tests beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from authd.resources.pages import Page, Pages, ProviderChoice, SessionLine


@dataclass(frozen=True, slots=True)
class Words:
    """What the outside puts into a page."""

    name: str
    title: str
    host: str
    account: str
    sentence: str
    reference: str
    message: str
    path: str
    method: str


ORDINARY = Words(
    name="Grafana",
    title="This login has expired",
    host="grafana.example.com",
    account="bob@example.com",
    sentence="No policy of this application admits your account.",
    reference="7c1f0e52a9d84b36e0c55d1b9f2a6e48",
    message="Grafana is for engineers.\nAsk in #observability for access.",
    path="/d/abc?orgId=1&from=now-6h",
    method="POST",
)

MARKUP = """"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}&lt;"""
HOSTILE = Words(
    name=MARKUP,
    title=MARKUP,
    host=MARKUP,
    account=MARKUP,
    sentence=MARKUP,
    reference=MARKUP,
    message=MARKUP,
    path="/'\"><script>alert(3)</script>&amp;",
    method=MARKUP,
)

LONG = Words(
    name="W" * 300,
    title="T" * 300,
    host="w" * 253,
    account="m" * 300 + "@example.com",
    sentence="M" * 300,
    reference="0123456789abcdef" * 16,
    message="M" * 900,
    path="/" + "q" * 4095,
    method="PROPFIND" * 20,
)

RIGHT_TO_LEFT = Words(
    name="لوحة القيادة \u202e(admin)",
    title="\u202eThis title was turned round.",
    host="xn--mgbh0fb.example",
    account="שרה@example.com",
    sentence="\u202eThis sentence was turned round.",
    reference="7c1f0e52a9d84b36e0c55d1b9f2a6e48",
    message="هذا التطبيق للمهندسين فقط.",
    path="/%D9%84%D9%88%D8%AD%D8%A9",
    method="POST",
)

LOGIN_PATH = "/cdn-cgi/access/login/grafana.example.com?redirect_url=%2Fd%2Fabc"
CODE_PATH = "/cdn-cgi/access/verify-code?state=67d1.abc"
LOGOUT_PATH = "/cdn-cgi/access/logout"
SWITCH_URL = "https://grafana.example.com/cdn-cgi/access/login?prompt=select_account&redirect_url=%2Fd"
START_URL = "https://grafana.example.com/d/abc?orgId=1&from=now-6h"


def _chooser(pages: Pages, words: Words) -> Page:
    names = (words.name, "Company login", "Partner login")
    providers = [ProviderChoice(name, f"{LOGIN_PATH}&idp={number}") for number, name in enumerate(names)]
    return pages.chooser(application_name=words.name, host=words.host, providers=providers)


def _denied(pages: Pages, words: Words, account: str | None, message: str | None) -> Page:
    return pages.denied(
        application_name=words.name,
        host=words.host,
        account=account,
        sentence=words.sentence,
        reference=words.reference,
        custom_message=message,
        switch_url=SWITCH_URL,
        logout_action=LOGOUT_PATH,
    )


def _edge_needed(pages: Pages, words: Words) -> Page:
    return pages.edge_needed(application_name=words.name, host=words.host, edge=words.title, reference=words.reference)


def _login_needed(pages: Pages, words: Words) -> Page:
    return pages.login_needed(application_name=words.name, host=words.host, login_url=LOGIN_PATH, method=words.method)


def _login_failed(pages: Pages, words: Words, start_url: str | None) -> Page:
    return pages.login_failed(
        title=words.title,
        sentence=words.sentence,
        reference=words.reference,
        start_url=start_url,
    )


def _login_loop(pages: Pages, words: Words) -> Page:
    return pages.login_loop(
        cause=words.sentence,
        advice=words.message,
        host=words.host,
        start_url=START_URL,
        reference=words.reference,
    )


def _launcher(pages: Pages, words: Words) -> Page:
    applications = [(words.name, START_URL), ("Wiki", "https://wiki.example.com/"), ("Jenkins", "/jenkins")]
    return pages.launcher(
        account=words.account,
        applications=applications,
        logout_action=LOGOUT_PATH,
        end_action="/cdn-cgi/access/end-session",
        sessions=[
            SessionLine(
                "id-1", "Firefox on Linux", "203.0.113.9 (DE)", "2026-11-27 08:30 UTC", "2026-11-28 06:10 UTC", True
            ),
            SessionLine("id-2", words.account, words.account, "2026-11-20 17:05 UTC", "2026-11-20 17:05 UTC", False),
        ],
    )


def _pin_address(pages: Pages, words: Words, mistake: str) -> Page:
    return pages.pin_address(application_name=words.name, host=words.host, action=CODE_PATH, mistake=mistake)


def _pin_code(pages: Pages, words: Words, key: str = "", mistake: str = "", exhausted: bool = False) -> Page:
    return pages.pin_code(
        application_name=words.name,
        host=words.host,
        email=words.account,
        valid_minutes=10,
        action=CODE_PATH,
        resend_action=CODE_PATH.replace("verify", "resend"),
        again_url=f"{CODE_PATH}&again=1",
        key=key,
        mistake=mistake,
        exhausted=exhausted,
    )


SAMPLES: dict[str, Callable[[Pages, Words], Page]] = {
    "chooser": _chooser,
    "pin_address": lambda pages, words: _pin_address(pages, words, ""),
    "pin_address_mistake": lambda pages, words: _pin_address(pages, words, words.sentence),
    "pin_code": _pin_code,
    "pin_code_wrong": lambda pages, words: _pin_code(pages, words, mistake=words.sentence),
    "pin_code_exhausted": lambda pages, words: _pin_code(pages, words, mistake=words.sentence, exhausted=True),
    "pin_code_link": lambda pages, words: _pin_code(pages, words, key=words.account),
    "pin_elsewhere": lambda pages, _: pages.pin_elsewhere(),
    "logged_in": lambda pages, words: pages.logged_in(host=words.host, url=START_URL),
    "denied": lambda pages, words: _denied(pages, words, words.account, None),
    "denied_with_message": lambda pages, words: _denied(pages, words, words.account, words.message),
    "denied_before_login": lambda pages, words: _denied(pages, words, None, None),
    "edge_needed": _edge_needed,
    "login_needed": _login_needed,
    "login_failed": lambda pages, words: _login_failed(pages, words, START_URL),
    "login_failed_without_start": lambda pages, words: _login_failed(pages, words, None),
    "login_loop": _login_loop,
    "outage": lambda pages, words: pages.outage(sentence=words.sentence, what=words.name, reference=words.reference),
    "too_many_attempts": lambda pages, words: pages.too_many_attempts(
        retry_after_seconds=45, reference=words.reference
    ),
    "logout_confirm": lambda pages, words: pages.logout_confirm(
        account=words.account, action=LOGOUT_PATH, return_to=words.path
    ),
    "logged_out": lambda pages, words: pages.logged_out(start_url=START_URL, provider_note=True),
    "launcher": _launcher,
    "launcher_before_login": lambda pages, _: pages.launcher(account=None, applications=[], logout_action=LOGOUT_PATH),
    "malformed": lambda pages, words: pages.malformed(sentence=words.sentence, reference=words.reference),
}
