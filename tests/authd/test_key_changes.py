"""What an operator may do with the keys, what is refused, and with which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from authd.cli import main
from authd.errors import KeyChangeError, StoreUnavailableError
from authd.key_changes import KeyChanges, KeyStatus, render_time
from authd.keys import render_keyring
from tests.authd.house import NOW, TEAM, House, get_keyring

DAY = 86400


@pytest.fixture
async def changes(house: House) -> KeyChanges:
    """Beside keys that were made a day ago, to the second."""
    sealed = house.sealer.seal("keyring", TEAM, render_keyring(get_keyring()))
    await house.store.put("keyring", TEAM, sealed, expires_at=2**50)
    return KeyChanges(house.store, house.records, house.config, house.clock)


def states(found: tuple[KeyStatus, ...]) -> dict[str, str]:
    return {key.key_id: key.state for key in found}


async def test_the_list_says_what_each_key_is_for(changes: KeyChanges) -> None:
    first, second = get_keyring().keys

    assert states(await changes.list()) == {first.key_id: "signs", second.key_id: "next"}
    assert (await changes.list())[0].to_json() == {
        "kid": first.key_id,
        "state": "signs",
        "created": "2027-01-14T08:00:00Z",
        "signs_from": "2027-01-14T08:00:00Z",
        "verifies_until": render_time(first.verifies_until),
    }


async def test_a_key_that_was_published_for_a_day_signs_when_told_to_and_one_second_earlier_not(
    house: House, changes: KeyChanges
) -> None:
    first, second = get_keyring().keys
    house.clock.now = NOW - 1
    with pytest.raises(KeyChangeError, match=f"wait until {render_time(NOW)}, or add --now"):
        await changes.rotate(at_once=False)
    assert states(await changes.list())[first.key_id] == "signs"
    house.clock.now = NOW

    found = await changes.rotate(at_once=False)

    assert list(states(found).values()) == ["verifies", "signs", "next"]
    assert states(found)[second.key_id] == "signs"
    with pytest.raises(KeyChangeError, match="has not been published for 24 h"):
        await changes.rotate(at_once=False)


async def test_a_rotation_twice_within_an_hour_keeps_all_keys_and_repeats_no_id(
    house: House, changes: KeyChanges
) -> None:
    """F15."""
    await changes.rotate(at_once=False)
    house.clock.now += 1800
    found = await changes.rotate(at_once=True)

    assert list(states(found).values()) == ["verifies", "verifies", "signs", "next"]
    assert [key.verifies_until - key.signs_from > 7 * DAY for key in found] == [True] * 4


async def test_a_retired_key_is_gone_and_leaves_a_tombstone(house: House, changes: KeyChanges) -> None:
    first, second = get_keyring().keys

    found = await changes.retire(first.key_id)

    assert list(states(found).values()) == ["signs", "next"]
    assert states(found)[second.key_id] == "signs"
    (tombstone,) = await house.store.tombstones_since(0)
    assert (tombstone.kind, tombstone.id) == ("key", first.key_id)


@pytest.mark.parametrize("key_id", ["", "f" * 64, "F" * 64])
async def test_what_is_no_key_cannot_be_retired(house: House, changes: KeyChanges, key_id: str) -> None:
    with pytest.raises(KeyChangeError, match="no key of that id"):
        await changes.retire(key_id)
    assert await house.store.tombstones_since(0) == []


@pytest.mark.parametrize("act", ["list", "rotate"])
async def test_where_authd_never_ran_no_keys_are_made(house: House, act: str) -> None:
    changes = KeyChanges(house.store, house.records, house.config, house.clock)

    with pytest.raises(KeyChangeError, match="holds no keys"):
        await (changes.list() if act == "list" else changes.rotate(at_once=True))
    assert await house.records.find_keyring(team_domain=TEAM, now=NOW) is None


@pytest.mark.parametrize("was_done", [True, False])
async def test_an_answer_that_came_too_late_does_not_rotate_twice(
    house: House, changes: KeyChanges, was_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that missed its deadline may be committed all the same."""
    replace: Callable[..., Any] = house.store.replace
    tries: list[int] = []

    async def late(*arguments: object, **times: object) -> bool:
        tries.append(1)
        if len(tries) > 1:
            return bool(await replace(*arguments, **times))
        if was_done:
            assert await replace(*arguments, **times)
        raise StoreUnavailableError("no answer")

    monkeypatch.setattr(house.store, "replace", late)
    found = await changes.rotate(at_once=False)

    assert list(states(found).values()) == ["verifies", "signs", "next"]


def test_a_command_makes_no_store_where_there_is_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    secret.chmod(0o600)
    config = tmp_path / "authd.yml"
    config.write_text(
        f"team_domain: {TEAM}\nstate: sqlite:{tmp_path}/authd.db\nsecret_file: secret\napplications: []\n"
    )

    done = CliRunner().invoke(main, ["keys", "list", "--config", str(config)])

    assert done.exit_code == 1
    assert done.output.startswith("authd: ")
    assert not (tmp_path / "authd.db").exists()
