"""The pages in a real Chromium: readable, usable by keyboard, on a phone, in the dark, under their policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.authd.resources.page_samples import LONG, ORDINARY, SAMPLES
from tests.authd.resources.page_server import PageServer, serve_pages

pytestmark = pytest.mark.browser
# One page leaves at once: tests/stories follow it.
every_page = pytest.mark.parametrize("name", [name for name in SAMPLES if name != "logged_in"])

ACTION = "a, button, input:not([type=hidden])"

# All that can be reached by keyboard, in order.
ACTIONS = {
    "chooser": ["Grafana", "Company login", "Partner login"],
    "pin_address": ["E-mail address", "Send me a code"],
    "pin_address_mistake": ["E-mail address", "Send me a code"],
    "pin_code": ["Code from the mail", "Log in", "Send a new code", "Use another address"],
    "pin_code_wrong": ["Code from the mail", "Log in", "Send a new code", "Use another address"],
    "pin_code_exhausted": ["Send a new code", "Use another address"],
    "pin_code_link": ["Log in", "Send a new code", "Use another address"],
    "denied": ["Use another account", "Log out"],
    "denied_with_message": ["Use another account", "Log out"],
    "login_needed": ["Log in"],
    "login_failed": ["Start again"],
    "login_loop": ["Start again"],
    "logout_confirm": ["Log out"],
    "logged_out": ["Log in again"],
    "launcher": [
        *("Grafana", "Wiki", "Jenkins", "Log out"),
        "Log out Firefox on Linux",
        f"Log out {ORDINARY.account}",
        *("End all others", "End all sessions"),
    ],
}

# WCAG 2.2: the contrast of every text (1.4.3), and of the edges and outlines of actions (1.4.11), with
# what lies behind them, as [what, ratio, least ratio].
CONTRAST_SCRIPT = """() => {
  const parse = (text) => {
    const [red, green, blue, alpha = 1] = text.match(/[\\d.]+/g).map(Number);
    return {channels: [red, green, blue], alpha};
  };
  const luminance = (channels) => {
    const [red, green, blue] = channels.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const background = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const {channels, alpha} = parse(getComputedStyle(node).backgroundColor);
      if (alpha === 1) return channels;
      if (alpha !== 0) throw new Error("half-transparent backgrounds are not computed here");
    }
    throw new Error("no background");
  };
  const ratio = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const texts = [...document.body.querySelectorAll("*")].filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const found = texts.map((element) => [
    element.textContent.trim().slice(0, 30),
    ratio(parse(getComputedStyle(element).color).channels, background(element)),
    4.5,
  ]);
  for (const action of document.querySelectorAll("a, button, input:not([type=hidden])")) {
    const edge = parse(getComputedStyle(action).borderTopColor).channels;
    found.push(["edge", ratio(edge, background(action.parentElement)), 3]);
  }
  const focused = document.activeElement;
  if (focused !== document.body) {
    const style = getComputedStyle(focused);
    if (style.outlineStyle !== "solid" || parseFloat(style.outlineWidth) < 2) throw new Error("no outline");
    found.push(["outline", ratio(parse(style.outlineColor).channels, background(focused.parentElement)), 3]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with serve_pages() as site:
        yield site


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    switches = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    arguments = [*switches.split(), "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def phone_window(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.fixture
def phone(phone_window: Page) -> Iterator[Page]:
    """A window as wide as a phone; the test fails if the page had anything to complain about."""
    complaints: list[str] = []

    def note_message(message: object) -> None:
        complaints.append(str(message))

    for event in ("console", "pageerror", "dialog", "requestfailed"):
        phone_window.on(event, note_message)
    yield phone_window
    for event in ("console", "pageerror", "dialog", "requestfailed"):
        phone_window.remove_listener(event, note_message)
    assert complaints == []


@every_page
def test_a_keyboard_reaches_every_action_in_order_and_nothing_else(phone: Page, server: PageServer, name: str) -> None:
    phone.goto(server.url(name))
    expected = ACTIONS.get(name, [])

    reached = []
    for _ in expected:
        phone.keyboard.press("Tab")
        reached.append(phone.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).innerText"))

    assert reached == expected
    assert phone.locator("a, button, input:not([type=hidden]), select, [tabindex]").count() == len(expected)


@every_page
def test_a_screen_reader_finds_landmarks_a_heading_and_named_actions(
    phone: Page, server: PageServer, name: str
) -> None:
    phone.goto(server.url(name))

    assert phone.get_by_role("main").count() == 1
    assert phone.get_by_role("contentinfo").inner_text() == "authd"
    assert phone.get_by_role("heading", level=1).count() == 1
    assert phone.get_by_role("heading").count() == (4 if name == "launcher" else 1)
    for label in ACTIONS.get(name, []):
        found = [phone.get_by_role(role, name=label, exact=True).count() for role in ("link", "button", "textbox")]
        assert sum(found) == 1
    for navigation in phone.get_by_role("navigation").all():
        assert navigation.get_attribute("aria-label")
        assert navigation.get_by_role("list").count() == 1


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_at_rest_in_focus_and_under_the_pointer(
    phone: Page, server: PageServer, name: str, scheme: str
) -> None:
    phone.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    phone.goto(server.url(name))
    ratios = phone.evaluate(CONTRAST_SCRIPT)
    for action in phone.locator(ACTION).all():
        phone.keyboard.press("Tab")
        action.hover()
        ratios += phone.evaluate(CONTRAST_SCRIPT)

    assert len(ratios) >= 3
    assert [(what, ratio) for what, ratio, least in ratios if ratio < least] == []


def test_light_and_dark_are_two_looks(phone: Page, server: PageServer) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        phone.emulate_media(color_scheme=scheme)
        phone.goto(server.url("denied"))
        grounds.add(phone.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    assert len(grounds) == 2


@every_page
@pytest.mark.parametrize("words", ["long", "right_to_left"])
def test_no_word_is_long_enough_to_make_a_phone_scroll_sideways(
    phone: Page, server: PageServer, name: str, words: str
) -> None:
    phone.goto(server.url(name, words))

    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    assert phone.evaluate("Math.max(...[...document.querySelectorAll('main *')].map(e => e.scrollWidth))") <= 390


@every_page
def test_hostile_words_run_nothing_and_ask_for_nothing(phone: Page, server: PageServer, name: str) -> None:
    server.visited.clear()

    phone.goto(server.url(name, "hostile"))

    assert phone.locator("script, img, iframe, style").count() == 0
    assert [path for path in server.visited if "style.css" not in path] == [f"/hostile/{name}"]


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_are_large_enough_for_a_finger(phone: Page, server: PageServer, name: str) -> None:
    phone.goto(server.url(name))

    boxes = [action.bounding_box() for action in phone.locator(ACTION).all()]

    assert boxes
    assert all(box and box["height"] >= 44 and box["width"] >= 44 for box in boxes)


def test_a_reference_is_copied_as_the_log_has_it(phone: Page, server: PageServer) -> None:
    phone.goto(server.url("malformed"))

    phone.locator(".reference").click()

    assert "mono" in phone.evaluate("getComputedStyle(document.querySelector('.reference')).fontFamily")
    assert phone.evaluate("getSelection().toString()") == ORDINARY.reference


def test_an_address_of_4_kb_comes_back_with_the_form_and_says_where_the_form_stood(
    phone: Page, server: PageServer
) -> None:
    """`no-referrer` turns the form's Origin into "null": only Sec-Fetch-Site tells whose form it was."""
    server.posted.clear()
    phone.goto(server.url("logout_confirm", "long"))

    phone.keyboard.press("Tab")
    phone.keyboard.press("Enter")
    phone.get_by_text("Done").wait_for()

    ((headers, fields),) = server.posted
    assert fields == {"return_to": [LONG.path]}
    assert (headers["sec-fetch-site"], headers["origin"]) == ("same-origin", "null")
    assert "referer" not in headers


@pytest.mark.parametrize(("listed", "arrives"), [(0, False), (1, False), (2, True)])
def test_every_origin_that_a_form_is_redirected_to_has_to_be_a_form_target(
    chromium: Browser, listed: int, arrives: bool
) -> None:
    """The application's host sends the form on to the team's host, and that one to the provider's."""
    with serve_pages() as application, serve_pages() as team, serve_pages() as provider:
        application.moved_to, team.moved_to = f"{team.origin}/hop", f"{provider.origin}/landed"
        application.form_targets = (team.origin, provider.origin)[:listed]
        window = chromium.new_page()
        window.goto(application.url("denied"))
        if arrives:
            window.get_by_role("button").click()
            window.wait_for_url("**/landed")
        else:
            with window.expect_console_message(lambda message: "form-action" in message.text):
                window.get_by_role("button").click(no_wait_after=True)
        window.close()
        assert len(application.posted) == 1
        assert ("/landed" in provider.visited) is arrives
