"""What stands on the pages, and that nothing from outside ever becomes more than text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import jinja2
import pytest

from authd.resources.pages import Page, Pages, ProviderChoice
from tests.authd.resources.page_outline import PageOutline
from tests.authd.resources.page_samples import (
    HOSTILE,
    LOGIN_PATH,
    LOGOUT_PATH,
    LONG,
    MARKUP,
    ORDINARY,
    RIGHT_TO_LEFT,
    SAMPLES,
    START_URL,
    SWITCH_URL,
)

PAGES = Pages("/cdn-cgi/access")
every_page = pytest.mark.parametrize("name", SAMPLES)


def make_denied(**changes: Any) -> PageOutline:
    values: dict[str, Any] = {
        "application_name": "Grafana",
        "host": "grafana.example.com",
        "account": "bob@example.com",
        "sentence": "No policy of this application admits your account.",
        "reference": "7c1f0e52a9d84b36",
        "custom_message": None,
        "switch_url": SWITCH_URL,
        "logout_action": LOGOUT_PATH,
    }
    return PageOutline(PAGES.denied(**values | changes).html)


@every_page
@pytest.mark.parametrize("words", [ORDINARY, HOSTILE, LONG, RIGHT_TO_LEFT], ids=["ordinary", "hostile", "long", "rtl"])
def test_every_page_is_whole_whatever_the_words(name: str, words: Any) -> None:
    html = SAMPLES[name](PAGES, words).html
    outline = PageOutline(html)

    assert html.startswith("<!doctype html>")
    assert outline.get("html")["lang"] == "en"
    assert outline.get_meta("viewport") == "width=device-width, initial-scale=1"
    assert outline.get_meta("color-scheme") == "light dark"
    assert outline.get_text("title") == outline.get_text("h1") != ""
    assert len(outline.all("main")) == len(outline.all("h1")) == 1
    assert outline.get_text("footer") == "authd"
    assert not {"script", "style", "iframe", "img", "object", "base"} & {tag for tag, _ in outline.elements}
    assert not [key for _, attributes in outline.elements for key in attributes if key.startswith(("on", "style"))]


@every_page
def test_hostile_words_do_not_change_what_a_page_is_made_of(name: str) -> None:
    hostile = PageOutline(SAMPLES[name](PAGES, HOSTILE).html)

    assert hostile.shape == PageOutline(SAMPLES[name](PAGES, ORDINARY).html).shape


@every_page
def test_hostile_words_are_shown_as_they_are(name: str) -> None:
    text = PageOutline(SAMPLES[name](PAGES, HOSTILE).html).get_text("html")

    if name not in ("logged_out", "launcher_before_login", "pin_elsewhere"):  # these say nothing from outside
        assert " ".join(MARKUP.split()) in text
    assert "49" not in text


@every_page
def test_the_words_of_the_pages_themselves_are_calm(name: str) -> None:
    text = PageOutline(SAMPLES[name](PAGES, ORDINARY).html).get_text("html")

    assert "!" not in text
    assert "  " not in text
    assert "None" not in text


@every_page
def test_a_reference_is_shown_unchanged_wherever_there_is_one(name: str) -> None:
    outline = PageOutline(SAMPLES[name](PAGES, ORDINARY).html)
    without_reference = {"chooser", "login_needed", "logout_confirm", "logged_out", "launcher", "launcher_before_login"}
    without_reference |= {"logged_in", *(sample for sample in SAMPLES if sample.startswith("pin_"))}

    assert (ORDINARY.reference in outline.text_of.get("code", "")) is (name not in without_reference)


def test_the_chooser_names_the_application_and_offers_every_provider_in_order() -> None:
    providers = [
        ProviderChoice("Company login", f"{LOGIN_PATH}&idp=corp"),
        ProviderChoice("Partners", "/p?a=1&b=2"),
    ]

    outline = PageOutline(PAGES.chooser(application_name="Grafana", host="g.example", providers=providers).html)

    assert outline.get_text("h1") == "Log in to Grafana"
    assert [link["href"] for link in outline.all("a")] == [f"{LOGIN_PATH}&idp=corp", "/p?a=1&b=2"]
    assert outline.get_text("nav") == "Company login Partners"


def test_a_denial_says_which_account_which_application_why_and_the_reference() -> None:
    text = make_denied().get_text("main")

    assert "No access to Grafana No policy of this application admits your account." in text
    for fact in ("Your account bob@example.com", "Address grafana.example.com", "Reference 7c1f0e52a9d84b36"):
        assert fact.replace(" ", "") in text.replace(" ", "")


def test_a_denial_offers_another_account_and_a_way_out() -> None:
    outline = make_denied()

    assert outline.get("a")["href"] == SWITCH_URL
    assert outline.get("form") == {"method": "post", "action": LOGOUT_PATH}
    assert outline.get("button")["type"] == "submit"


def test_a_denial_before_any_login_has_no_account_and_nothing_to_leave() -> None:
    outline = make_denied(account=None)

    assert not {"a", "form", "button"} & {tag for tag, _ in outline.elements}
    assert "account" not in outline.get_text("dl")


def test_a_denial_shows_what_the_operator_wants_to_say_and_keeps_its_lines() -> None:
    text = make_denied(custom_message="Ask Alice.\nRoom 12 & 13.").text_of["main"]

    assert "Ask Alice.\nRoom 12 & 13." in text


def test_a_denial_for_a_host_without_an_application_names_the_host() -> None:
    assert make_denied(application_name="").get_text("h1") == "No access to grafana.example.com"


def test_a_post_without_a_session_learns_that_nothing_was_sent_on() -> None:
    page = PAGES.login_needed(application_name="Wiki", host="wiki.example.com", login_url=START_URL, method="PUT")
    outline = PageOutline(page.html)

    assert "(PUT) was not sent on, and nothing was saved." in outline.get_text("main")
    assert outline.get("a")["href"] == START_URL


@pytest.mark.parametrize(("start_url", "links"), [(START_URL, [START_URL]), (None, []), ("", [])])
def test_a_failed_login_can_be_started_again_where_that_is_possible(start_url: str | None, links: list[str]) -> None:
    page = PAGES.login_failed(title="Expired", sentence="Too late.", reference="r", start_url=start_url)

    assert [link["href"] for link in PageOutline(page.html).all("a")] == links


def test_an_outage_says_what_fails_and_that_the_session_is_not_lost() -> None:
    page = PAGES.outage(sentence="Logging in has to wait.", what="The session store", reference="r")
    text = PageOutline(page.html).get_text("main")

    assert "Logging in has to wait." in text
    assert "The session store" in text
    assert "Your session is not lost" in text


def test_logging_out_is_asked_for_with_a_form() -> None:
    outline = PageOutline(PAGES.logout_confirm(account="bob@example.com", action=LOGOUT_PATH, return_to="/x?a=1").html)

    assert outline.get("form") == {"method": "post", "action": LOGOUT_PATH}
    assert outline.get("input")["value"] == "/x?a=1"


def test_logging_out_without_account_or_way_back_leaves_both_out() -> None:
    outline = PageOutline(PAGES.logout_confirm(account=None, action=LOGOUT_PATH, return_to=None).html)

    assert not outline.all("input")
    assert not outline.all("dl")


@pytest.mark.parametrize("provider_note", [True, False])
def test_after_logging_out_the_provider_is_mentioned_only_if_it_still_knows_the_person(
    provider_note: bool,
) -> None:
    outline = PageOutline(PAGES.logged_out(start_url=None, provider_note=provider_note).html)

    assert ("without asking for a password" in outline.get_text("main")) is provider_note
    assert not outline.all("a")


def test_a_launcher_without_applications_says_so() -> None:
    page = PAGES.launcher(account="bob@example.com", applications=[], logout_action=LOGOUT_PATH)

    assert "No application is open to this account." in PageOutline(page.html).get_text("main")


def test_a_launcher_without_a_session_says_where_a_login_begins() -> None:
    outline = PageOutline(PAGES.launcher(account=None, applications=[], logout_action=LOGOUT_PATH).html)

    assert "You are not logged in." in outline.get_text("main")
    assert not outline.all("form")


def make_denial(switch_url: str, logout_action: str) -> Page:
    return PAGES.denied(
        application_name="",
        host="",
        account="",
        sentence="",
        reference="",
        custom_message=None,
        switch_url=switch_url,
        logout_action=logout_action,
    )


def make_pin_code(**changes: Any) -> Page:
    values: dict[str, Any] = {
        "application_name": "Grafana",
        "host": "grafana.example.com",
        "email": "bob@example.com",
        "valid_minutes": 10,
        "action": "/",
        "resend_action": "/",
        "again_url": "/",
        "key": "",
        "mistake": "",
        "exhausted": False,
    }
    return PAGES.pin_code(**values | changes)


def test_a_code_is_asked_for_in_a_way_that_phones_understand() -> None:
    outline = PageOutline(make_pin_code().html)

    field = outline.get("input")
    assert (field["autocomplete"], field["inputmode"], field["name"]) == ("one-time-code", "numeric", "code")
    assert outline.get("label")["for"] == field["id"]
    assert "If bob@example.com has access" in outline.get_text("main")


def test_a_link_from_a_mail_asks_for_a_confirmation_only() -> None:
    outline = PageOutline(make_pin_code(key="from-the-mail").html)

    assert [(field["type"], field["name"], field["value"]) for field in outline.all("input")] == [
        ("hidden", "key", "from-the-mail")
    ]
    assert "as bob@example.com?" in outline.get_text("main")


def test_after_too_many_codes_only_a_new_one_can_be_asked_for() -> None:
    outline = PageOutline(make_pin_code(exhausted=True, resend_action="/again").html)

    assert not outline.all("input")
    assert outline.get("form")["action"] == "/again"


def test_a_mistake_is_told_to_those_who_cannot_see_it_too() -> None:
    outline = PageOutline(make_pin_code(mistake="That code is wrong.").html)

    (told,) = [paragraph for paragraph in outline.all("p") if paragraph.get("role") == "alert"]
    field = outline.get("input")
    assert (field["aria-invalid"], field["aria-describedby"]) == ("true", told["id"])


def test_whoever_is_logged_in_by_a_form_goes_on_by_themselves_and_by_a_link() -> None:
    html = PAGES.logged_in(host="grafana.example.com", url=START_URL).html
    outline = PageOutline(html)

    (refresh,) = [meta["content"] for meta in outline.all("meta") if meta.get("http-equiv") == "refresh"]
    assert refresh == f"0; url={START_URL}"
    assert outline.get("a")["href"] == START_URL


LINKED: dict[str, Callable[[str], Page]] = {
    "provider": lambda url: PAGES.chooser(application_name="", host="", providers=[ProviderChoice("", url)]),
    "another account": lambda url: make_denial(url, "/"),
    "logout of a denial": lambda url: make_denial("/", url),
    "login": lambda url: PAGES.login_needed(application_name="", host="", login_url=url, method=""),
    "new start": lambda url: PAGES.login_failed(title="", sentence="", reference="", start_url=url),
    "start of a loop": lambda url: PAGES.login_loop(cause="", advice="", host="", start_url=url, reference=""),
    "logout": lambda url: PAGES.logout_confirm(account=None, action=url, return_to=None),
    "login again": lambda url: PAGES.logged_out(start_url=url, provider_note=False),
    "application": lambda url: PAGES.launcher(account="", applications=[("", url)], logout_action="/"),
    "address": lambda url: PAGES.pin_address(application_name="", host="", action=url, mistake=""),
    "code": lambda url: make_pin_code(action=url),
    "link": lambda url: make_pin_code(action=url, key="k"),
    "new code": lambda url: make_pin_code(resend_action=url),
    "another address": lambda url: make_pin_code(again_url=url),
    "going on": lambda url: PAGES.logged_in(host="", url=url),
    "logout of the launcher": lambda url: PAGES.launcher(account="", applications=[], logout_action=url),
}


@pytest.mark.parametrize("place", LINKED)
def test_no_address_that_a_browser_would_run_gets_into_a_page(place: str) -> None:
    assert START_URL.replace("&", "&amp;") in LINKED[place](START_URL).html
    for url in ("javascript:alert(1)", "//evil.example/", "data:text/html,x"):
        with pytest.raises(ValueError, match="must be a path or an http"):
            LINKED[place](url)


def test_the_style_sheet_is_linked_under_the_prefix_by_the_hash_of_its_content() -> None:
    content, etag = PAGES.stylesheet
    version = hashlib.sha256(content).hexdigest()[:16]

    outline = PageOutline(PAGES.malformed(sentence="", reference="").html)

    assert (etag, PAGES.stylesheet_version) == (f'"{version}"', version)
    assert outline.get("link") == {"rel": "stylesheet", "href": f"/cdn-cgi/access/style.css?v={version}"}


@pytest.mark.parametrize(("prefix", "begin"), [("", "/style.css?v="), ("/a/b", "/a/b/style.css?v=")])
def test_another_prefix_moves_the_style_sheet(prefix: str, begin: str) -> None:
    outline = PageOutline(Pages(prefix).malformed(sentence="", reference="").html)

    assert str(outline.get("link")["href"]).startswith(begin)


def test_a_prefix_that_is_another_host_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a path"):
        Pages("//evil.example")


def test_the_style_sheet_loads_nothing_from_anywhere() -> None:
    style = PAGES.stylesheet.content.decode("utf-8")

    assert "url(" not in style
    assert "@import" not in style


def test_no_template_is_read_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages("/cdn-cgi/access")

    def refuse(*_: object) -> None:
        raise AssertionError("a template was read while somebody waited")

    monkeypatch.setattr(jinja2.FileSystemLoader, "get_source", refuse)
    for sample in SAMPLES.values():
        assert sample(pages, ORDINARY).html


def test_a_value_that_a_template_needs_and_does_not_get_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        PAGES._render("outage", sentence="Logging in has to wait.", reference="r")


def test_every_page_can_be_sent_even_if_a_name_is_no_unicode_text() -> None:
    broken = make_denied(account="bob\ud800\x00@example.com", custom_message="\x1b[31mred")

    assert "bob\ufffd\ufffd@example.com" in broken.get_text("dl")
    assert "\ufffd[31mred" in broken.get_text("main")


def test_an_account_cannot_be_made_to_read_backwards() -> None:
    assert "\ufffdmoc.live@bob" in make_denied(account="\u202emoc.live@bob").get_text("dl")
