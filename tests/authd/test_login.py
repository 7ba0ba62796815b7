"""The login as plain calls: whom a code is for, what may go wrong on the way, and that nothing is spent twice.

The provider here is made by hand, since what counts is what the login makes of its answers; the real one is in
tests/stories.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from authd.attempts import ATTEMPT_SECONDS, META_SECONDS
from authd.errors import LoginError, LoginLimitError, ProviderRefusedError
from authd.in_force import Policies
from authd.launcher import list_open_applications
from authd.login import TEAM_COOKIE
from authd.login_steps import Choose, Denied, Redirect
from authd.model import Identity, Reason
from authd.state.records import CODE_LIFETIME_SECONDS
from tests.authd.hand_made_provider import HandMadeProvider
from tests.authd.house import CONFIG, NOW, TEAM, House, make_client, make_identity

HOST = "grafana.example.com"


class Person:
    """A browser and whoever sits before it. Cookies are kept by host, as browsers do."""

    def __init__(self, house: House, provider: HandMadeProvider) -> None:
        self.house, self.provider = house, provider
        self.jars: dict[str, dict[str, str]] = {}

    def keep(self, host: str, found: Redirect | Denied) -> None:
        jar = self.jars.setdefault(host, {})
        for line in found.cookies:
            name, _, value = line.partition(";")[0].partition("=")
            jar.pop(name, None) if "Max-Age=0" in line else jar.update({name: value})

    def header(self, host: str) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.jars.get(host, {}).items())

    def begin(self, path: str = "/x?y=%26", application: str = "grafana", prompt: str | None = None) -> str:
        app = self.house.index.get_application(application)
        found = self.house.login.begin(app, HOST, path, self.header(HOST), prompt)
        self.keep(HOST, found)
        return urlsplit(found.location).query

    async def start(self, query: str) -> Redirect | Choose | Denied:
        found = await self.house.login.start(HOST, query, make_client(self.header(TEAM)))
        if not isinstance(found, Choose):
            self.keep(TEAM, found)
        return found

    async def finish(self, query: str | None = None) -> Redirect | Denied:
        query = query if query is not None else f"code=c&state={self.provider.begun[-1]['state']}"
        found = await self.house.login.finish(query, make_client(self.header(TEAM)))
        self.keep(TEAM, found)
        return found

    async def redeem(self, location: str, host: str = HOST) -> Redirect:
        client = make_client(self.header(host))
        found = await self.house.login.redeem(urlsplit(location).query, host, client)
        self.keep(host, found)
        return found

    async def reach_code(self) -> str:
        """All the way to the address with the one-time code."""
        await self.start(self.begin() + "&idp=corp")
        found = await self.finish()
        assert isinstance(found, Redirect)
        return found.location


@pytest.fixture
def provider(house: House) -> HandMadeProvider:
    made = HandMadeProvider(make_identity)
    house.providers["corp"] = made
    return made


@pytest.fixture
def person(house: House, provider: HandMadeProvider) -> Person:
    return Person(house, provider)


def code_of(error: pytest.ExceptionInfo[LoginError]) -> tuple[str, int]:
    return error.value.code, error.value.status


async def test_the_whole_way_ends_with_a_token_for_that_application(house: House, person: Person) -> None:
    location = await person.reach_code()
    found = await person.redeem(location)

    assert found.location == f"https://{HOST}/x?y=%26"
    claims = jwt.decode(person.jars[HOST]["CF_AUTHORIZATION"], options={"verify_signature": False})
    assert claims["aud"] == [house.index.get_application("grafana").aud]
    assert claims["exp"] == NOW + 3600
    assert claims["email"] == "alice@example.com"
    assert claims["policy_id"]
    assert set(person.jars[TEAM]) == {TEAM_COOKIE}


async def test_an_anonymous_visitor_writes_nothing(house: House, person: Person) -> None:
    await person.start(person.begin() + "&idp=corp")

    assert await house.store.size() == 0


async def test_several_providers_are_offered_and_only_allowed_ones_taken(house: House, person: Person) -> None:
    for ending in ("", "&idp=nobody", "&idp=corp&idp=partner"):
        found = await person.start(person.begin() + ending)
        assert isinstance(found, Choose)
        assert [name for name, _ in found.choices] == ["Company login", "partner"]
        assert found.choices[0][1].endswith("&idp=corp")


async def test_a_second_application_is_handed_a_code_without_the_provider(person: Person) -> None:
    await person.reach_code()

    found = await person.start(person.begin("/other"))

    assert isinstance(found, Redirect)
    assert found.location.startswith(f"https://{HOST}/cdn-cgi/access/authorized?nonce=")
    assert person.provider.finished == 1


async def test_another_account_is_asked_for_although_a_session_lives(person: Person) -> None:
    await person.reach_code()

    found = await person.start(person.begin(prompt="select_account") + "&idp=corp")

    assert isinstance(found, Redirect)
    assert found.location.startswith("https://idp.example.com/")
    assert person.provider.begun[-1]["prompt"] == "select_account"


async def test_another_account_ends_the_session_before_it_and_the_same_one_does_not(
    house: House, person: Person
) -> None:
    await person.reach_code()
    first = await house.login.find_team_session(make_client(person.header(TEAM)))
    assert first
    await person.start(person.begin(prompt="select_account") + "&idp=corp")
    await person.finish()
    assert await house.sessions.find(first.id) == first

    second = await house.login.find_team_session(make_client(person.header(TEAM)))
    assert second
    person.provider.answer = lambda: make_identity("bob@example.com")
    await person.start(person.begin(prompt="select_account") + "&idp=corp")
    await person.finish()

    assert second.id != first.id
    assert await house.sessions.find(second.id) is None


@pytest.mark.parametrize("field_name", ["kid", "redirect_url", "meta"])
async def test_a_login_address_that_was_changed_begins_at_the_application_or_nowhere(
    person: Person, field_name: str
) -> None:
    query = parse_qs(person.begin())
    changed = {name: values[0] for name, values in query.items()} | {field_name: "/changed"}

    async def start() -> Redirect | Choose | Denied:
        return await person.start("&".join(f"{name}={value}" for name, value in changed.items()))

    if field_name == "kid":
        with pytest.raises(LoginError) as caught:
            await start()
        assert code_of(caught) == ("application_unknown", 400)
    else:
        found = await start()
        assert isinstance(found, Redirect)
        assert found.location == f"https://{HOST}/changed" or found.location == f"https://{HOST}/x?y=&"
    assert person.provider.begun == []


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "evil"])
async def test_a_login_address_that_leads_elsewhere_is_refused(house: House, person: Person, target: str) -> None:
    aud = house.index.get_application("grafana").aud

    with pytest.raises(LoginError) as caught:
        await person.start(f"kid={aud}&redirect_url={target}")
    assert code_of(caught) == ("redirect_invalid", 400)


async def test_an_application_is_not_logged_in_to_from_a_host_of_another(house: House, person: Person) -> None:
    aud = house.index.get_application("wiki").aud

    with pytest.raises(LoginError) as caught:
        await person.start(f"kid={aud}&redirect_url=/")
    assert code_of(caught) == ("application_unknown", 400)


async def test_a_login_address_is_good_for_five_minutes(house: House, person: Person) -> None:
    query = person.begin()
    house.clock.now = NOW + META_SECONDS

    found = await person.start(query + "&idp=corp")

    assert isinstance(found, Redirect)
    assert found.location.startswith(f"https://{HOST}/")
    assert person.provider.begun == []


@pytest.mark.parametrize("query", ["", "state=", "code=c", "state=x.y&code=c", "state=a&state=b"])
async def test_a_callback_that_belongs_to_no_attempt_is_refused(person: Person, query: str) -> None:
    await person.start(person.begin() + "&idp=corp")

    with pytest.raises(LoginError) as caught:
        await person.finish(query)
    assert code_of(caught) == ("state_invalid", 400)
    assert person.provider.finished == 0


async def test_a_state_with_the_right_beginning_and_another_end_is_refused(person: Person) -> None:
    await person.start(person.begin() + "&idp=corp")
    state = str(person.provider.begun[-1]["state"])

    for wrong in (state[:-1], state + "0", state.upper() + "x", state.partition(".")[0]):
        with pytest.raises(LoginError) as caught:
            await person.finish(f"code=c&state={wrong}")
        assert code_of(caught) == ("state_invalid", 400)
    assert person.provider.finished == 0


async def test_an_attempt_counts_once_though_the_browser_kept_its_cookie(house: House, person: Person) -> None:
    await person.start(person.begin() + "&idp=corp")
    kept = dict(person.jars[TEAM])
    await person.finish()

    person.jars[TEAM] = kept
    with pytest.raises(LoginError) as caught:
        await person.finish()
    assert code_of(caught) == ("state_used", 400)
    assert caught.value.return_url == f"https://{HOST}/x?y=%26"
    assert person.provider.finished == 1


async def test_an_attempt_ends_after_ten_minutes(house: House, person: Person) -> None:
    await person.start(person.begin() + "&idp=corp")
    house.clock.now = NOW + ATTEMPT_SECONDS

    with pytest.raises(LoginError) as caught:
        await person.finish()
    assert code_of(caught) == ("state_invalid", 400)


async def test_a_provider_that_says_no_leaves_no_session(house: House, person: Person) -> None:
    def refuse() -> Identity:
        raise ProviderRefusedError("corp", "access_denied", "said no")

    person.provider.answer = refuse
    await person.start(person.begin() + "&idp=corp")

    with pytest.raises(ProviderRefusedError):
        await person.finish()
    assert TEAM_COOKIE not in person.jars[TEAM]


async def test_somebody_who_is_not_admitted_is_told_and_keeps_the_session(house: House, person: Person) -> None:
    person.provider.answer = lambda: make_identity("mallory@example.net")
    await person.start(person.begin() + "&idp=corp")

    found = await person.finish()

    assert isinstance(found, Denied)
    assert found.decision.reason is Reason.NO_POLICY_MATCHED
    assert found.session.identity.email == "mallory@example.net"
    assert TEAM_COOKIE in person.jars[TEAM]


async def test_a_code_counts_once(person: Person) -> None:
    location = await person.reach_code()
    await person.redeem(location)

    with pytest.raises(LoginError) as caught:
        await person.redeem(location)
    assert code_of(caught) == ("code_unknown", 400)
    assert caught.value.return_url == f"https://{HOST}/x?y=%26"


async def test_a_code_is_good_for_a_minute(house: House, person: Person) -> None:
    location = await person.reach_code()
    house.clock.now = NOW + CODE_LIFETIME_SECONDS

    with pytest.raises(LoginError) as caught:
        await person.redeem(location)
    assert code_of(caught) == ("code_unknown", 400)


async def test_a_code_is_for_one_host(person: Person) -> None:
    location = await person.reach_code()

    with pytest.raises(LoginError) as caught:
        await person.redeem(location, host="wiki.example.com")
    assert code_of(caught) == ("code_unknown", 400)


async def test_a_code_in_another_browser_is_spent_and_gives_nothing(house: House, person: Person) -> None:
    """Login CSRF: somebody is sent to the hand-over of the attacker's own login."""
    location = await person.reach_code()
    victim = Person(house, person.provider)
    victim.begin()

    found = await victim.redeem(location)

    assert found.location == f"https://{HOST}/x?y=%26"
    assert found.cookies == ()
    with pytest.raises(LoginError):
        await person.redeem(location)


async def test_a_browser_that_kept_no_name_is_told_so(person: Person) -> None:
    location = await person.reach_code()
    person.jars[HOST].clear()

    with pytest.raises(LoginError) as caught:
        await person.redeem(location)
    assert code_of(caught) == ("cookie_missing", 400)


async def test_a_session_that_ended_on_the_way_gives_no_token(house: House, person: Person) -> None:
    location = await person.reach_code()
    session = await house.login.find_team_session(make_client(person.header(TEAM)))
    assert session
    await house.sessions.end(session)

    with pytest.raises(LoginError) as caught:
        await person.redeem(location)
    assert code_of(caught) == ("session_ended", 400)


async def test_a_policy_that_changed_on_the_way_gives_no_token(house: House, person: Person) -> None:
    location = await person.reach_code()
    house.load(CONFIG.replace("email_domain: example.com", "email_domain: example.net"))

    found = await person.redeem(location)

    assert found.cookies == ()
    assert "CF_AUTHORIZATION" not in person.jars[HOST]


async def test_a_configuration_that_changed_during_the_login_says_so(house: House, person: Person) -> None:
    await person.start(person.begin() + "&idp=corp")
    house.providers.clear()

    with pytest.raises(LoginError) as caught:
        await person.finish()
    assert code_of(caught) == ("configuration_changed", 400)


async def test_logins_of_one_person_are_limited(house: House, person: Person) -> None:
    for number in range(10):
        person.provider.answer = lambda: make_identity("alice@example.com")
        await person.start(person.begin(f"/{number}", prompt="select_account") + "&idp=corp")
        await person.finish()
    await person.start(person.begin(prompt="select_account") + "&idp=corp")

    with pytest.raises(LoginLimitError) as caught:
        await person.finish()
    assert (caught.value.kind, caught.value.retry_after_seconds) == ("login_person", 60)


async def test_the_launcher_lists_what_somebody_may_open(house: House, person: Person) -> None:
    await person.reach_code()
    session = await house.login.find_team_session(make_client(person.header(TEAM)))
    assert session

    def names(email: str) -> list[str]:
        changed = replace(session, identity=make_identity(email))
        policies = Policies(house.config, house.index, house.providers)
        return [name for name, _ in list_open_applications(policies, changed, make_client())]

    assert "Grafana" in names("alice@example.com")
    assert "Grafana" not in names("mallory@example.net")
    assert "wiki" in names("mallory@example.net")
    house.load(house.text.replace("  - id: wiki", "  - id: wiki\n    app_launcher_visible: false"))
    assert "wiki" not in names("mallory@example.net")
