"""What master and workers share: whole, once for each change, and with all that stood in other files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from authd.config import parse_config
from authd.config_slot import ConfigSlot, LoadedConfig
from tests.authd.house import CONFIG


def load(tmp_path: Path, cookie_name: str = "CF_AUTHORIZATION") -> LoadedConfig:
    (tmp_path / "staff.txt").write_text("alice@example.com\n")
    lists = "lists: [{name: staff, type: email, file: staff.txt}]\n"
    text = f"cookie_name: {cookie_name}\n{lists}{CONFIG}"
    return LoadedConfig(parse_config(text, source="test", base_dir=tmp_path), {"corp": "a secret", "partner": None})


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[ConfigSlot]:
    made = ConfigSlot(load(tmp_path))
    yield made
    made.close()


def read_in_child(slot: ConfigSlot) -> str:
    """What a process that is forked now reads."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, slot.read().config.cookie_name.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as stream:
        return stream.read()


def test_what_was_written_is_read_once(slot: ConfigSlot, tmp_path: Path) -> None:
    assert slot.read() == load(tmp_path)
    assert slot.find_new() is None

    slot.write(load(tmp_path, "OTHER"))

    found = slot.find_new()
    assert found is not None
    assert found.config.cookie_name == "OTHER"
    assert found.client_secrets == {"corp": "a secret", "partner": None}
    assert slot.find_new() is None


def test_of_two_changes_the_last_one_counts(slot: ConfigSlot, tmp_path: Path) -> None:
    slot.read()
    slot.write(load(tmp_path, "A_LONG_NAME_FOR_A_COOKIE"))
    slot.write(load(tmp_path, "B"))

    found = slot.find_new()

    assert found is not None
    assert found.config.cookie_name == "B"


def test_a_list_is_handed_on_as_the_master_read_it(slot: ConfigSlot, tmp_path: Path) -> None:
    (tmp_path / "staff.txt").write_text("no address at all\n")

    assert slot.read().config.lists[0].emails == frozenset({"alice@example.com"})


def test_a_value_that_is_just_being_written_is_left_for_later(slot: ConfigSlot, tmp_path: Path) -> None:
    slot.read()
    slot.write(load(tmp_path, "OTHER"))
    position = 200
    original = os.pread(slot._descriptor, 1, position)
    os.pwrite(slot._descriptor, bytes([original[0] ^ 1]), position)
    assert slot.find_new() is None

    os.pwrite(slot._descriptor, original, position)

    assert slot.find_new() is not None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_that_is_started_later_reads_what_stands_there_by_then(slot: ConfigSlot, tmp_path: Path) -> None:
    assert read_in_child(slot) == "CF_AUTHORIZATION"
    slot.write(load(tmp_path, "LATER"))

    assert read_in_child(slot) == "LATER"
