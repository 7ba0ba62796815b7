"""An installation whose only way in is a code by mail, and what a visitor does there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.authd.resources.page_outline import PageOutline
from tests.harness.browser import NAVIGATION, Answer, Browser
from tests.harness.smtp import PASSWORD, MailServer, start_mail_server, write_mail_settings
from tests.harness.stack import Stack, start_stack
from tests.stories.installation import EVERYONE, STAFF

APPLICATIONS: list[dict[str, Any]] = [
    {"id": "grafana", "name": "Grafana", "domains": ["grafana.test"], "policies": STAFF},
    {"id": "wiki", "name": "Wiki", "domains": ["wiki.other.example"], "policies": EVERYONE},
]
# What a browser says of a form that a page of the same origin sent.
OWN_FORM = tuple((name, "same-origin" if name == "Sec-Fetch-Site" else value) for name, value in NAVIGATION)
FOREIGN_FORM = tuple((name, "cross-site" if name == "Sec-Fetch-Site" else value) for name, value in NAVIGATION)
GENEROUS = dict.fromkeys(
    ("per_address", "per_network", "per_email", "per_email_and_day", "per_email_and_hour", "in_all"), 1000
)


@contextmanager
def start_stack_with_codes(
    directory: Path, *, limits: dict[str, Any] | None = None, **settings: Any
) -> Iterator[tuple[Stack, MailServer]]:
    """Everything, and a mail server beside it that asks for TLS and a password."""
    with pytest.MonkeyPatch.context() as patch, start_mail_server(directory) as mail_server:
        patch.setenv("AUTHD_TEST_MAIL_PASSWORD", PASSWORD)
        provider = {"id": "guests", "type": "onetimepin", "name": "Code by mail"}
        provider |= {"mail": write_mail_settings(mail_server), "code_rate_limit": limits or GENEROUS}
        settings = {"identity_providers": [provider], **settings}
        with start_stack(directory, applications=APPLICATIONS, settings=settings) as stack:
            yield stack, mail_server


def go_to_address_page(stack: Stack, url: str, browser: Browser | None = None) -> tuple[Browser, Answer]:
    """A browser that stands before the page that asks for an address."""
    browser = browser or stack.browser()
    page = browser.visit(url)
    assert page.status == 200, (page.status, page.text[:300])
    assert PageOutline(page.text).get("input")["name"] == "email"
    return browser, page


def send(browser: Browser, page: Answer, fields: dict[str, str], headers: Any = OWN_FORM) -> Answer:
    """Fill in the first form of a page and send it; a 303 is followed, since it leads to a page of authd."""
    action = str(PageOutline(page.text).all("form")[0]["action"])
    answer = browser.request(action, method="POST", headers=headers, form=fields)
    return browser.request(answer.location) if answer.status == 303 else answer


def ask_for_code(stack: Stack, url: str, address: str, browser: Browser | None = None) -> tuple[Browser, Answer]:
    """A browser that stands before the page that asks for the code."""
    browser, page = go_to_address_page(stack, url, browser)
    page = send(browser, page, {"email": address})
    assert page.status == 200, (page.status, page.text[:300])
    return browser, page


def go_on(browser: Browser, answer: Answer) -> Answer:
    """What browsers do by themselves with the page after a login."""
    assert answer.status == 200, (answer.status, answer.text[:300])
    (refresh,) = [meta for meta in PageOutline(answer.text).all("meta") if meta.get("http-equiv") == "refresh"]
    return browser.visit(str(refresh["content"]).removeprefix("0; url="))
