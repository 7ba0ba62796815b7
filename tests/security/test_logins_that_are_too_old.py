"""Every step of a login ends: state, meta and one-time code, each to the second, and each for one place only."""

from __future__ import annotations

from authd.attempts import ATTEMPT_SECONDS, META_SECONDS, AppSession, Attempt, Meta, hash_path
from authd.state.records import CODE_LIFETIME_SECONDS, HandoverCode
from tests.security.edge import TEAM_HOST, Edge

BROWSER = AppSession("B" * 22)


def attempt(edge: Edge) -> tuple[Attempt, str]:
    made = Attempt(
        id="id", state="id.state", nonce="n", code_verifier="v", provider_id="corp", application_id="grafana",
        host="grafana.test", return_path="/", app_session_hash=BROWSER.hash, round=0,
        expires_at=int(edge.now) + ATTEMPT_SECONDS,
    )  # fmt: skip
    cookie = edge.worker.login._attempts.render_attempt(made, "")[0].partition(";")[0]
    return made, cookie


async def test_a_state_ends_after_ten_minutes(edge: Edge) -> None:
    made, cookie = attempt(edge)
    find = edge.worker.login._attempts.find_attempt
    edge.now += ATTEMPT_SECONDS - 1
    assert find(made.state, cookie) == made
    edge.now += 1
    assert find(made.state, cookie) is None
    answer = await edge.ask("/team/callback", TEAM_HOST, "/?code=x&state=id.state", cookie=cookie)
    assert answer.status == 400
    assert not answer.get_all("set-cookie")


async def test_the_cookie_of_an_attempt_belongs_to_its_name(edge: Edge) -> None:
    """Renamed to another attempt, cut, doubled or moved to another kind of value, it is nothing."""
    made, cookie = attempt(edge)
    name, _, value = cookie.partition("=")
    find = edge.worker.login._attempts.find_attempt
    other = name.replace("_id_", "_di_")
    for state, header in (
        ("di.state", f"{other}={value}"),
        ("id.state", f"{name}={value[:-4]}"),
        ("id.state", f"{name}={value}; {name}={value}"),
        ("id.state", f"{name}={value}; {name.removesuffix('0')}1={value}"),
        ("id.state", f"{name.removesuffix('0')}1={value}"),
        ("id.state", f"{name.upper()}={value}"),
        ("", cookie),
        ("id", ""),
    ):
        assert find(state, header) is None, header
    assert edge.worker.login._attempts.find_meta(value, "grafana.test") is None
    assert edge.worker.login._attempts.find_path(value, "id") is None
    assert find(made.state, cookie) == made


async def test_a_meta_ends_after_five_minutes_and_begins_nothing_then(edge: Edge) -> None:
    attempts, aud = edge.worker.login._attempts, edge.application("grafana").aud
    meta = Meta("grafana", "grafana.test", hash_path("/"), BROWSER.hash, 0, None, int(edge.now) + META_SECONDS)
    text = attempts.render_meta(meta)
    assert attempts.find_meta(text, "grafana.test") == meta
    assert attempts.find_meta(text, "wiki.test") is None
    edge.now += META_SECONDS
    target = f"/?kid={aud}&redirect_url=%2F&meta={text}"
    answer = await edge.ask("/team/login/grafana.test", TEAM_HOST, target)
    assert (answer.status, answer.get("location")) == (302, "https://grafana.test:8443/")
    assert not answer.get_all("set-cookie")


async def test_a_code_ends_after_a_minute_and_with_its_session(edge: Edge) -> None:
    session = await edge.log_in()
    cookie = BROWSER.render(edge.now).partition(";")[0]
    code = HandoverCode(session.id, "grafana", "grafana.test", "/", BROWSER.hash, 0)
    for name in ("in-time", "too-late", "ended"):
        await edge.worker.records.add_code(name, code, now=int(edge.now))
    edge.now += CODE_LIFETIME_SECONDS - 1
    answer = await edge.ask("/app/authorized", "grafana.test", "/?nonce=in-time", cookie=cookie)
    assert answer.status == 302
    assert answer.get("set-cookie").startswith("CF_AUTHORIZATION=eyJ")
    await edge.worker.sessions.end(session)
    answer = await edge.ask("/app/authorized", "grafana.test", "/?nonce=ended", cookie=cookie)
    assert answer.status == 400
    edge.now += 1
    answer = await edge.ask("/app/authorized", "grafana.test", "/?nonce=too-late", cookie=cookie)
    assert answer.status == 400
    assert not [line for line in answer.get_all("set-cookie") if "eyJ" in line]
