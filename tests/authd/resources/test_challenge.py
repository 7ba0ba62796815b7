"""`/challenge` over HTTP: the decision is made again, and the visitor's headers shape the answer only."""

from __future__ import annotations

import pytest

from authd.attempts import AppSession
from tests.authd.house import NOW, House, make_identity
from tests.authd.resources.check_app import CheckApp
from tests.authd.resources.test_check import session_headers

NAVIGATION = {"accept": "text/html", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
LOGIN = "https://auth.example.com/cdn-cgi/access/login/grafana.example.com?kid="


@pytest.fixture
def app(house: House) -> CheckApp:
    return CheckApp(house)


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({}, "GET", 302),
        ({"accept": "*/*"}, "GET", 302),
        ({"accept": "text/html, application/json"}, "GET", 302),
        ({"accept": "application/json"}, "GET", 401),
        ({"accept": "image/png"}, "GET", 401),
        (NAVIGATION, "GET", 302),
        (NAVIGATION, "HEAD", 302),
        (NAVIGATION, "POST", 401),
        ({"accept": "text/html", "sec_fetch_mode": "cors"}, "GET", 401),
        ({"accept": "text/html", "sec_fetch_mode": "no-cors"}, "GET", 401),
        ({"accept": "text/html", "x_requested_with": "XMLHttpRequest"}, "GET", 401),
        (NAVIGATION | {"upgrade": "websocket"}, "GET", 401),
        ({"sec_fetch_mode": "cors", "cf_access_token": "dead"}, "GET", 302),
        ({"sec_fetch_mode": "cors", "user_agent": "cloudflared/2026.7.3"}, "GET", 302),
        ({"sec_fetch_mode": "cors", "user_agent": "not cloudflared/1"}, "GET", 401),
    ],
)
async def test_the_form_of_the_answer_follows_the_request(
    app: CheckApp, headers: dict[str, str], method: str, status: int
) -> None:
    answer = await app.ask("/challenge", x_authd_check="401", x_original_method=method, **headers)

    assert answer.status_code == status
    if status == 302:
        assert answer.headers["location"].startswith(LOGIN)
    else:
        assert "location" not in answer.headers
        assert answer.headers["www-authenticate"] == 'Cloudflare-Access realm="authd"'


async def test_a_browser_that_has_a_name_keeps_it(app: CheckApp) -> None:
    named = AppSession("n" * 22).render(NOW).partition(";")[0]

    first = await app.ask("/challenge", **NAVIGATION)
    second = await app.ask("/challenge", cookie=named, **NAVIGATION)

    assert [cookie.partition("=")[0] for cookie in first.cookies] == ["__Host-CF_AppSession"]
    assert second.cookies == ()


@pytest.mark.parametrize(("rounds", "status"), [(2, 302), (3, 403), (4, 403)])
async def test_the_fourth_round_is_a_page(house: House, app: CheckApp, rounds: int, status: int) -> None:
    aud = house.index.get_application("grafana").aud
    cookie = AppSession("n" * 22, rounds, NOW, aud[:8]).render(NOW).partition(";")[0]

    answer = await app.ask("/challenge", cookie=cookie, **NAVIGATION)

    assert answer.status_code == status


async def test_somebody_who_is_refused_learns_who_they_are_and_why(house: House, app: CheckApp) -> None:
    _, token = await house.open_session(identity=make_identity("mallory@example.net"))

    page = await app.ask("/challenge", x_authd_check="403", **session_headers(token), **NAVIGATION)
    json = await app.ask("/challenge", x_authd_check="403", **session_headers(token), accept="application/json")

    assert page.status_code == json.status_code == 403
    assert "mallory@example.net" in page.text
    assert "No policy of this application admits your account." in page.text
    assert json.json["error"] == "denied"
    assert json.json["reference"] == "0123456789abcdef"


async def test_a_denial_that_has_changed_meanwhile_is_asked_for_again_and_never_a_200(
    house: House, app: CheckApp
) -> None:
    _, token = await house.open_session()

    for check in ("401", "403"):
        answer = await app.ask("/challenge", x_authd_check=check, **session_headers(token), **NAVIGATION)
        assert answer.status_code in (302, 503)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"x_original_url": "https://other.example.com/x"}, 403),
        ({"x_original_url": ""}, 400),
        ({"x_real_ip": "x"}, 400),
        ({"x_original_path": "/other"}, 400),
        ({"x_authd_app": "wiki"}, 403),
    ],
)
async def test_what_cannot_be_decided_is_refused_by_page_and_json_alike(
    app: CheckApp, changes: dict[str, str], status: int
) -> None:
    for shape in (NAVIGATION, {"accept": "application/json"}):
        answer = await app.ask("/challenge", x_authd_check="403", **changes, **shape)

        assert answer.status_code == status


async def test_a_store_that_does_not_answer_is_an_outage_and_no_cookie_is_touched(house: House, app: CheckApp) -> None:
    _, token = await house.open_session()
    house.sessions._remembered.clear()
    await house.store.close()

    answer = await app.ask("/challenge", **session_headers(token), **NAVIGATION)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.cookies == ()
