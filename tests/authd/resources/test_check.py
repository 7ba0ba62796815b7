"""`GET /auth` over HTTP: only a permission is a 200, and nothing can be smuggled in by the headers of an identity."""

from __future__ import annotations

import pytest

from authd.resources import check
from authd.resources.identity_headers import MAX_GROUPS_BYTES, render_identity_headers
from tests.authd.house import CONFIG, NOW, House, make_identity, with_cookie
from tests.authd.resources.check_app import GOOD, CheckApp


@pytest.fixture
def app(house: House) -> CheckApp:
    return CheckApp(house)


def session_headers(token: str) -> dict[str, str]:
    found = with_cookie(token)
    return {"cookie": found["cookie_header"], "x_authd_session": found["nginx_session"]}


async def test_somebody_with_a_session_gets_a_200_with_their_identity(house: House, app: CheckApp) -> None:
    _, token = await house.open_session()

    answer = await app.ask(**session_headers(token))

    assert answer.status_code == 200
    assert answer.headers["cf-access-jwt-assertion"] == token
    assert answer.headers["cf-access-authenticated-user-email"] == "alice@example.com"
    assert answer.headers["x-authd-user"] == "alice@example.com"
    assert answer.headers["x-authd-groups"] == "staff"
    assert answer.headers["x-accel-expires"] == f"@{NOW}"
    assert answer.content == b""


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 401),
        ({"cookie": "CF_AUTHORIZATION=x", "x_authd_session": "x"}, 401),
        ({"x_original_url": "https://other.example.com/x"}, 403),
        ({"x_authd_app": "wiki"}, 403),
        ({"x_real_ip": "nonsense"}, 403),
        ({"x_real_ip": ""}, 403),
        ({"x_original_url": ""}, 403),
        ({"x_original_url": "https://grafana.example.com"}, 403),
        ({"x_original_method": ""}, 403),
        ({"x_original_path": "/other"}, 403),
    ],
)
async def test_everything_else_is_refused_without_identity(app: CheckApp, changes: dict[str, str], status: int) -> None:
    answer = await app.ask(**changes)

    assert answer.status_code == status
    assert answer.headers["x-accel-expires"] == "0"
    assert not [name for name in answer.headers if name.startswith(("cf-access", "x-authd"))]


@pytest.mark.parametrize("name", ["X-Original-Method", "X-Original-Url", "X-Real-Ip"])
async def test_a_header_that_is_missing_refuses(house: House, app: CheckApp, name: str) -> None:
    _, token = await house.open_session()

    assert (await app.ask(without=name, **session_headers(token))).status_code == 403


@pytest.mark.parametrize("name", list(GOOD))
async def test_a_header_that_is_there_twice_refuses(house: House, app: CheckApp, name: str) -> None:
    _, token = await house.open_session()

    answer = await app.ask("/auth", (name, GOOD[name]), **session_headers(token))

    assert answer.status_code == 403
    assert app.lines[-1]["reason"] == "malformed_request"


async def test_a_store_that_does_not_answer_is_a_500_and_no_denial(house: House, app: CheckApp) -> None:
    _, token = await house.open_session()
    house.sessions._remembered.clear()
    await house.store.close()

    assert (await app.ask(**session_headers(token))).status_code == 500
    assert app.lines == []
    assert app.store_errors == ["/auth store_unavailable"]


async def test_a_fault_of_ours_is_a_500(house: House, app: CheckApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.access, "_index", lambda: None)

    answer = await app.ask()

    assert (answer.status_code, answer.content) == (500, b"")


async def test_a_bypass_carries_no_identity_even_if_a_token_came(house: House, app: CheckApp) -> None:
    _, token = await house.open_session()
    public = {"x_original_url": "https://public.example.com/x", "x_authd_app": "public"}

    answer = await app.ask(**public, **session_headers(token))

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith(("cf-access", "x-authd"))]


async def test_a_decision_is_logged_with_its_reason_and_without_query_or_token(house: House, app: CheckApp) -> None:
    _, token = await house.open_session()
    await app.ask(**session_headers(token))
    await app.ask()

    allowed, refused = app.lines
    assert (allowed["outcome"], allowed["reason"], allowed["policy"]) == ("allow", "policy_allow", "Staff")
    assert (allowed["email"], allowed["app"], allowed["path"]) == ("alice@example.com", "grafana", "/x")
    assert (refused["outcome"], refused["reason"]) == ("login", "no_credential")
    assert refused["request_id"] == GOOD["X-Request-Id"]
    assert "y=1" not in str(app.lines)
    assert token not in str(app.lines)


async def test_people_are_not_mixed_up_by_what_is_remembered(
    house: House, app: CheckApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "MAX_REMEMBERED", 2)
    people = {f"p{number}@example.com": make_identity(f"p{number}@example.com") for number in range(4)}
    tokens = {email: (await house.open_session(id_=email, identity=who))[1] for email, who in people.items()}

    for email in [*tokens, *reversed(tokens), *tokens]:
        answer = await app.ask(**session_headers(tokens[email]))
        assert answer.headers["x-authd-user"] == email
        assert answer.headers["cf-access-jwt-assertion"] == tokens[email]


async def test_what_is_remembered_ends_with_session_policy_and_token(house: House, app: CheckApp) -> None:
    session, token = await house.open_session()

    async def ask() -> int:
        return (await app.ask(**session_headers(token))).status_code

    assert [await ask(), await ask()] == [200, 200]
    house.load(CONFIG.replace("email_domain: example.com", "email_domain: example.net"))
    assert await ask() == 403
    house.load(CONFIG)
    assert [await ask(), await ask()] == [200, 200]
    house.clock.now = NOW + 3600
    assert await ask() == 401
    house.clock.now = NOW
    assert [await ask(), await ask()] == [200, 200]
    await house.sessions.end(session)
    assert await ask() == 401


@pytest.mark.parametrize("change", [{"x_original_url": "https://wiki.example.com/x"}, {"x_original_path": "/y"}])
async def test_what_is_remembered_counts_for_the_very_same_request(
    house: House, app: CheckApp, change: dict[str, str]
) -> None:
    _, token = await house.open_session()
    assert (await app.ask(**session_headers(token))).status_code == 200

    assert (await app.ask(**change, **session_headers(token))).status_code == 403


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PUT", "get", ""])
async def test_nginx_asks_by_get_alone(house: House, app: CheckApp, method: str) -> None:
    _, token = await house.open_session()

    assert (await app.ask(method=method, **session_headers(token))).status_code == 403


@pytest.mark.parametrize(
    ("secrets", "status"), [((), 403), (("wrong",), 403), (("s3cret",), 200), (("s3cret", "s3cret"), 403), (("",), 403)]
)
async def test_on_a_port_only_nginx_knows_the_secret(house: House, secrets: tuple[str, ...], status: int) -> None:
    _, token = await house.open_session()
    app = CheckApp(house, listener_secret="s3cret")

    answer = await app.ask("/auth", *(("X-Authd-Secret", secret) for secret in secrets), **session_headers(token))

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("groups", "header"),
    [
        (("a", "b c"), "a,b c"),
        (("a,b",), "a%2Cb"),
        (("Żółw",), "%C5%BB%C3%B3%C5%82w"),
        (("x\r\nCf-Access-Authenticated-User-Email: root",), "x%0D%0ACf-Access-Authenticated-User-Email: root"),
        (("100%",), "100%25"),
        ((" admins ",), "%20admins%20"),
        (('"q"', "\\"), "%22q%22,%5C"),
        (("\udcff",), "?"),
    ],
)
def test_groups_arrive_as_one_line_of_printable_ascii(groups: tuple[str, ...], header: str) -> None:
    assert render_identity_headers(make_identity(groups=groups))["X-Authd-Groups"] == header


def test_five_hundred_groups_fit_and_more_are_left_out_whole() -> None:
    groups = tuple(f"department-{number:04d}" for number in range(5000))

    sent = render_identity_headers(make_identity(groups=groups))["X-Authd-Groups"]

    assert len(sent) <= MAX_GROUPS_BYTES
    assert tuple(sent.split(",")) == groups[: len(sent.split(","))]
    assert len(sent.split(",")) > 500


def test_somebody_without_an_address_is_named_by_subject() -> None:
    headers = render_identity_headers(make_identity(None, subject="uuid", groups=()))

    assert headers == {"X-Authd-User": "uuid"}
