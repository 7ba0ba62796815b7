"""Lists of addresses and networks, in the configuration and in files beside it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from authd.config import list_entries
from tests.authd.config.samples import find_mistakes, parse


def config_with_list(kind: str, rest: str) -> str:
    return f"team_domain: auth.example.com\nlists:\n  - name: them\n    type: {kind}\n    {rest}\n"


def test_items_and_file_are_one_list(tmp_path: Path) -> None:
    (tmp_path / "staff.txt").write_text("# people\nAlice@Example.com\n\nbob@example.com  # left\r\n")
    text = config_with_list("email", "items: [carol@example.com]\n    file: staff.txt")
    assert parse(text, tmp_path).lists[0].emails == {"alice@example.com", "bob@example.com", "carol@example.com"}


def test_networks_are_read(tmp_path: Path) -> None:
    (tmp_path / "office.txt").write_text("10.0.0.0/8\n2001:db8::/32\n192.0.2.7\n")
    networks = parse(config_with_list("ip", "file: office.txt"), tmp_path).lists[0].networks
    assert networks == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("192.0.2.7/32"))


def test_mistakes_in_items_and_in_the_file_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "office.txt").write_text("10.0.0.0/8\nHUNTER2\n10.0.0.1/8\n")
    text = config_with_list("ip", "items: [nonsense]\n    file: office.txt")
    told = [(mistake.key, mistake.message) for mistake in find_mistakes(text, tmp_path)]
    assert told == [
        ("lists[0].items[0]", "is not an IP address or network"),
        ("lists[0].file", "line 2 of this file is no entry of this list"),
        ("lists[0].file", "line 3 of this file is no entry of this list"),
    ]


def test_the_lines_of_a_wrong_file_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("HUNTER2\n" * 1000)
    mistakes = find_mistakes(config_with_list("email", "file: secret"), tmp_path)
    assert "HUNTER2" not in "\n".join(map(str, mistakes))
    assert len(mistakes) == list_entries.MAX_REPORTED


def test_files_that_cannot_be_read_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe")
    for name, words in (("missing.txt", "cannot be read"), (".", "cannot be read"), ("latin.txt", "not UTF-8")):
        (mistake,) = find_mistakes(config_with_list("email", f"file: {name}"), tmp_path)
        assert mistake.key == "lists[0].file"
        assert words in mistake.message


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_entries, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "huge.txt").write_text("#" * (2**20 + 1))
    (mistake,) = find_mistakes(config_with_list("ip", "file: huge.txt"), tmp_path)
    assert mistake.message == "is larger than 1 MiB"


def test_a_list_without_anything_is_a_mistake() -> None:
    (mistake,) = find_mistakes(config_with_list("ip", "items: []"))
    assert mistake.message == "needs items or file"


def test_an_empty_file_is_an_empty_list(tmp_path: Path) -> None:
    (tmp_path / "nobody.txt").write_text("# nobody is blocked today\n")
    assert parse(config_with_list("ip", "file: nobody.txt"), tmp_path).lists[0].networks == ()


@pytest.mark.parametrize("kind", ["mail", "EMAIL", "", "null"])
def test_there_are_two_kinds_of_list(kind: str) -> None:
    (mistake,) = find_mistakes(config_with_list(kind, "items: [a@b.c]"))
    assert mistake.key == "lists[0].type"
