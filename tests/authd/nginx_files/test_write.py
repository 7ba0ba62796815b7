from __future__ import annotations

import os
from pathlib import Path

import pytest

from authd.nginx_files import write_files

FILES = {"a.conf": "one\n", "b.conf": "two\n"}


def test_files_are_written_and_named_only_where_they_changed(tmp_path: Path) -> None:
    out = tmp_path / "etc" / "authd"
    assert write_files(FILES, out) == ("a.conf", "b.conf")
    assert write_files(FILES, out) == ()
    assert write_files({**FILES, "b.conf": "three\n"}, out) == ("b.conf",)
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a.conf": "one\n", "b.conf": "three\n"}


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.conf").write_text("mine")
    write_files(FILES, tmp_path)
    assert (tmp_path / "mine.conf").read_text() == "mine"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_what_was_asked_for_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        write_files(FILES, tmp_path, mode=mode)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_a_file_that_became_secret_is_written_again(tmp_path: Path) -> None:
    write_files(FILES, tmp_path)
    assert write_files(FILES, tmp_path, mode=0o600) == ("a.conf", "b.conf")


def test_a_secret_is_never_readable_by_others_not_even_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    sync = os.fsync

    def look(descriptor: int) -> None:
        modes.extend(path.stat().st_mode & 0o777 for path in tmp_path.iterdir())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_files(FILES, tmp_path, mode=0o600)
    assert set(modes) == {0o600}


@pytest.mark.parametrize("failing", ["fsync", "replace", "fchmod"])
def test_a_failure_leaves_the_old_file_whole_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write_files(FILES, tmp_path)

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(OSError, match="no space left"):
            write_files({"a.conf": "changed\n"}, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == FILES
