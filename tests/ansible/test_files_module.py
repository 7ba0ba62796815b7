"""The module `authd.authd.files`, run by the real Ansible on this machine: what it writes, leaves and tells."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".cache/ansible"
ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
SECRET = "what-nobody-may-read-here"


@dataclass(frozen=True)
class Done:
    """What Ansible told: `result` is the module's own, `output` everything."""

    result: dict[str, Any]
    output: str

    @property
    def is_failed(self) -> bool:
        return "localhost | FAILED! =>" in self.output

    @property
    def written(self) -> list[str]:
        names: list[str] = self.result["written"]
        return [Path(name).name for name in names]


def play(*entries: dict[str, Any], options: tuple[str, ...] = (), home: Path) -> Done:
    whole = [
        ME | {key: str(value) if isinstance(value, Path) else value for key, value in each.items()} for each in entries
    ]
    command = [
        str(ENVIRONMENT / "bin/python"),
        str(ENVIRONMENT / "bin/ansible"),
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
    ]
    command += ["-m", "authd.authd.files", "-a", json.dumps({"entries": whole}), *options]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]
    variables = {
        **os.environ,
        "ANSIBLE_HOME": str(home / ".ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(ENVIRONMENT / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, env=variables
    )
    said = done.stdout + done.stderr
    begin = done.stdout.find("=> {")
    assert begin >= 0, said
    return Done(json.JSONDecoder().raw_decode(done.stdout[begin + 3 :])[0], said)


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o7777)


def test_everything_is_made_in_order_and_a_second_time_nothing(tmp_path: Path) -> None:
    (tmp_path / "rendered").write_text("from the machine\n")
    entries: tuple[dict[str, Any], ...] = (
        {"path": tmp_path / "a/b", "state": "directory", "mode": "0750"},
        {"path": tmp_path / "a/b/text", "content": "hello\n"},
        {"path": tmp_path / "a/b/secret", "secret": SECRET, "mode": "0600"},
        {"path": tmp_path / "a/b/copy", "source": tmp_path / "rendered", "mode": "0755"},
    )
    first = play(*entries, options=("--diff", "-vvv"), home=tmp_path)
    assert first.result["changed"] is True
    assert first.written == ["b", "text", "secret", "copy"]
    made = tmp_path / "a/b"
    assert (mode(made), mode(made / "text"), mode(made / "secret"), mode(made / "copy")) == (
        "0o750",
        "0o644",
        "0o600",
        "0o755",
    )
    assert (made / "text").read_text() == "hello\n"
    assert (made / "secret").read_text() == f"{SECRET}\n"
    assert (made / "copy").read_text() == "from the machine\n"
    assert sorted(path.name for path in made.iterdir()) == ["copy", "secret", "text"]
    assert "+hello" in first.output
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in first.output
    # Ansible's own command line, which only this test has, is all that names it.
    assert SECRET not in json.dumps(first.result)
    again = play(*entries, home=tmp_path)
    assert (again.result["changed"], again.written) == (False, [])


def test_check_mode_tells_the_same_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    entries: tuple[dict[str, Any], ...] = (
        {"path": tmp_path / "new/directory", "state": "directory"},
        {"path": tmp_path / "new/directory/file", "content": "x"},
        {"path": tmp_path / "old", "content": "new\n", "validate": "/nowhere/program %s"},
        {"path": tmp_path / "theirs", "content": "x", "owner": "nobody-has-made-them"},
    )
    done = play(*entries, options=("--check", "--diff"), home=tmp_path)
    assert done.written == ["directory", "file", "old", "theirs"]
    assert "-old" in done.output
    assert (tmp_path / "old").read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".ansible") == ["old"]


def test_what_the_program_refuses_does_not_replace_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("good\n")
    wanted: dict[str, Any] = {
        "path": path,
        "content": "bad\n",
        "validate": "sh -c 'grep -q good %s || { echo %s: line 1 >&2; exit 1; }'",
    }
    done = play(
        {"path": tmp_path / "before", "content": "x"},
        wanted,
        {"path": tmp_path / "after", "content": "x"},
        home=tmp_path,
    )
    assert done.is_failed
    assert done.result["msg"] == f"{path} was left as it is, sh refuses the new one: {path}: line 1"
    assert done.written == []
    assert path.read_text() == "good\n"
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != ".ansible") == ["settings"]


def test_what_was_written_before_a_refusal_is_taken_back(tmp_path: Path) -> None:
    """Or a secret that came with a refused configuration would be no difference the next time, and nobody be told."""
    names = ("secret", "open", "linked", "twice")
    secret, open_to_all, linked, twice = (tmp_path / name for name in names)
    secret.write_text("of before\n")
    secret.chmod(0o640)
    open_to_all.write_text(f"{SECRET}\n")
    open_to_all.chmod(0o644)
    linked.symlink_to("somewhere")
    twice.write_text("0\n")
    wanted: tuple[dict[str, Any], ...] = (
        {"path": tmp_path / "made", "state": "directory"},
        {"path": tmp_path / "made/new", "secret": SECRET},
        {"path": secret, "secret": SECRET, "mode": "0600"},
        {"path": open_to_all, "secret": SECRET, "mode": "0600"},
        {"path": linked, "content": "ours\n"},
        {"path": twice, "content": "1\n"},
        {"path": twice, "content": "2\n"},
    )
    done = play(*wanted, {"path": tmp_path / "settings", "content": "x", "validate": "false %s"}, home=tmp_path)
    assert done.is_failed
    assert done.written == ["made", "open"]
    assert list((tmp_path / "made").iterdir()) == []
    assert (secret.read_text(), mode(secret)) == ("of before\n", "0o600")
    assert (open_to_all.read_text(), mode(open_to_all)) == (f"{SECRET}\n", "0o600")
    assert os.readlink(linked) == "somewhere"
    assert twice.read_text() == "0\n"
    again = play(*wanted, home=tmp_path)
    assert again.written == ["new", "secret", "linked", "twice", "twice"]
    assert (secret.read_text(), twice.read_text()) == (f"{SECRET}\n", "2\n")


def test_what_cannot_be_taken_back_is_told(tmp_path: Path) -> None:
    """Here the program that refuses the second file removes the first one's directory."""
    first = tmp_path / "directory/first"
    first.parent.mkdir()
    first.write_text("of before\n")
    refuses = {"path": tmp_path / "second", "content": "x", "validate": f"sh -c 'rm -r {first.parent}; exit 1 # %s'"}
    done = play({"path": first, "content": "new\n"}, refuses, home=tmp_path)
    assert done.is_failed
    told = done.result["msg"]
    assert f"second was left as it is, sh refuses the new one: exit 1. {first} could not be put back: " in told
    assert "No such file or directory" in told
    assert done.written == ["first"]


def test_what_was_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    """Permissions alone, a link in the place of a file, a file that was truncated; a linked directory is respected."""
    open_to_all, linked, target, cut, kept = (tmp_path / name for name in ("open", "linked", "target", "cut", "kept"))
    open_to_all.write_text(f"{SECRET}\n")
    open_to_all.chmod(0o644)
    target.write_text("of somebody else\n")
    linked.symlink_to(target)
    cut.write_text("")
    kept.write_text("kept\n")
    (tmp_path / "disk").mkdir()
    # Whatever umask this process has.
    kept.chmod(0o644)
    (tmp_path / "disk").chmod(0o755)
    (tmp_path / "place").symlink_to(tmp_path / "disk")
    done = play(
        {"path": open_to_all, "secret": SECRET, "mode": "0600"},
        {"path": linked, "content": "ours\n"},
        {"path": cut, "content": "whole\n", "once": True, "report_before": True},
        {"path": kept, "content": "another\n", "once": True},
        {"path": tmp_path / "place", "state": "directory"},
        home=tmp_path,
    )
    assert done.written == ["open", "linked", "cut"]
    assert (mode(open_to_all), linked.is_symlink(), linked.read_text()) == ("0o600", False, "ours\n")
    assert target.read_text() == "of somebody else\n"
    assert (cut.read_text(), kept.read_text()) == ("whole\n", "kept\n")
    assert done.result["before"] == {str(cut): ""}


def test_what_a_link_leads_to_is_left_alone(tmp_path: Path) -> None:
    """Whoever may write to the directory of a service could have put it there, and this runs as root."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere").chmod(0o700)
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    for name, target in {"directory": "elsewhere", "file": "secret", "kept": "secret"}.items():
        (tmp_path / name).symlink_to(target)
    done = play(
        {"path": tmp_path / "directory", "state": "directory", "mode": "0755"},
        {"path": tmp_path / "file", "content": SECRET, "mode": "0644"},
        {"path": tmp_path / "kept", "content": "ours\n", "once": True},
        home=tmp_path,
    )
    assert done.written == ["file", "kept"]
    assert (mode(tmp_path / "elsewhere"), mode(tmp_path / "secret")) == ("0o700", "0o600")
    assert (tmp_path / "secret").read_text() == SECRET
    assert (tmp_path / "kept").read_text() == "ours\n"
    (tmp_path / "directory").unlink()
    (tmp_path / "directory").symlink_to("secret")
    done = play({"path": tmp_path / "directory", "state": "directory"}, home=tmp_path)
    assert done.is_failed
    assert "leads to no directory where one is wanted" in done.result["msg"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"path": "relative", "content": "x"}, "relative: not an absolute path"),
        ({"path": "{}/file"}, "{}/file: a file has one of content, secret and source"),
        ({"path": "{}/file", "content": "x", "mode": "u=rw"}, "{}/file: mode 'u=rw' is not written in octal digits"),
        ({"path": "{}/file", "source": "{}/none"}, "{}/file: its source {}/none: No such file or directory"),
        ({"path": "{}/no/file", "content": "x"}, "{}/no/file: No such file or directory"),
        ({"path": "{}", "content": "x"}, "{}: there is a directory where a file is wanted"),
        (
            {"path": "{}/file", "content": "x", "owner": "nobody-has-made-them"},
            "{}/file: there is no user nobody-has-made-them",
        ),
        (
            {"path": "{}/file", "content": "x", "validate": "/nowhere/program %s"},
            "{}/file: /nowhere/program, which tries it: No such file or directory",
        ),
    ],
    ids=["relative", "nothing", "mode", "source", "parent", "directory", "user", "program"],
)
def test_what_cannot_be_done_is_one_sentence(wanted: dict[str, str], told: str, tmp_path: Path) -> None:
    place = str(tmp_path)
    done = play({key: value.replace("{}", place) for key, value in wanted.items()}, home=tmp_path)
    assert done.is_failed
    assert done.result["msg"] == told.replace("{}", place)
    assert not (tmp_path / "file").exists()
