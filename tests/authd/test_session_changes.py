"""`authd sessions`: what it finds, what it refuses, and what it says."""

from __future__ import annotations

import pytest

from authd.errors import SessionChangeError
from authd.session_changes import SessionChanges, render_session
from tests.authd.house import NOW, House, make_identity, make_session


@pytest.fixture
def changes(house: House) -> SessionChanges:
    return SessionChanges(house.sessions, house.records, house.config, house.clock)


async def add(house: House, *ids: str, email: str = "jane@example.com") -> None:
    for number, id_ in enumerate(ids):
        await house.sessions.add(make_session(id_, make_identity(email), created_at=NOW - number))


async def test_the_newest_comes_first_and_a_person_is_named_by_address_or_subject(
    house: House, changes: SessionChanges
) -> None:
    await add(house, "aaaaaaaa1", "aaaaaaaa2", "bbbbbbbb1")
    await add(house, "cccccccc1", email="john@example.com")

    assert [each.id for each in await changes.list(person="JANE@example.com", provider=None)] == [
        "aaaaaaaa1",
        "aaaaaaaa2",
        "bbbbbbbb1",
    ]
    by_subject = await changes.list(person="subject-of-john@example.com", provider="corp")
    assert [each.id for each in by_subject] == ["cccccccc1"]
    assert await changes.list(person=None, provider="partner") == []


@pytest.mark.parametrize(
    ("id_", "sentence"),
    [("aaaaa", "at least the first 6"), ("aaaaaaaa", "2 sessions begin with"), ("zzzzzzzz", "no living session")],
)
async def test_a_beginning_that_names_none_or_several_is_refused(
    house: House, changes: SessionChanges, id_: str, sentence: str
) -> None:
    await add(house, "aaaaaaaa1", "aaaaaaaa2")

    with pytest.raises(SessionChangeError, match=sentence):
        await changes.revoke_session(id_)
    assert len(await changes.list(person=None, provider=None)) == 2


async def test_what_does_not_exist_cannot_be_revoked(house: House, changes: SessionChanges) -> None:
    for attempt, sentence in (
        (changes.revoke_person("nobody@example.com"), "nobody with the address"),
        (changes.revoke_person("no@address@here"), "no e-mail address"),
        (changes.revoke_application("grafanna"), "there are: grafana"),
        (changes.revoke_provider("okta"), "no identity provider"),
    ):
        with pytest.raises(SessionChangeError, match=sentence):
            await attempt


async def test_a_revoked_person_is_gone_from_the_list_also_if_a_login_was_under_way(
    house: House, changes: SessionChanges
) -> None:
    await add(house, "aaaaaaaa1", "aaaaaaaa2")
    await add(house, "cccccccc1", email="john@example.com")

    revoked = await changes.revoke_person("jane@example.com")
    await house.records.add_session(make_session("late", make_identity("jane@example.com")))

    assert revoked.sessions == 2
    assert [each.id for each in await changes.list(person=None, provider=None)] == ["cccccccc1"]


@pytest.mark.parametrize("what", ["provider", "everything"])
async def test_a_session_of_a_machine_whose_clock_is_ahead_ends_as_well(
    house: House, changes: SessionChanges, what: str
) -> None:
    ahead = make_session("aheadahead", created_at=NOW + 30)
    await house.sessions.add(ahead)
    other = house.make_sessions()
    await other.start()
    assert await other.find(ahead.id)

    revoked = await (changes.revoke_provider("corp") if what == "provider" else changes.revoke_everything())
    await other.poll()

    assert revoked.sessions == 1
    assert await other.find(ahead.id) is None
    assert await changes.list(person=None, provider=None) == []


def test_nothing_that_lets_anybody_in_is_shown() -> None:
    """The id names a session; a token needs a signature."""
    shown = render_session(make_session(left={"a" * 64: NOW}))
    assert set(shown) == {
        *(
            "id",
            "email",
            "name",
            "subject",
            "provider",
            "groups",
            "all_groups",
            "began",
            "ends",
            "ip",
            "country",
            "user_agent",
        )
    }
