#!/usr/bin/python
"""Brings several files and directories of a machine to what is wanted, in one execution.

Of a role's time most goes into starting a module on the machine; `copy` and `template` start two for each file.
docs/adr/0124 has the figures.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Several files and directories in one execution
description:
  - Brings each entry, in order, to its content, owner, group and mode.
  - A file that differs is written beside the old one, tried by C(validate) and only then put into its place.
  - The first entry that fails ends the task, and files hold again what they held, so that the next run finds the same
    differences and notifies whoever has to know. Directories, owners and modes stay as they are wanted.
  - A symbolic link where a file is wanted is replaced. One where a directory is wanted stays, if it leads to one.
  - What links point to is left alone, owner and mode included. Who may write to a directory gets nothing else by one.
version_added: 0.1.0
author: The authd authors (@authd)
options:
  entries:
    description: What is wanted. The parents of a directory are made as well, those of a file are not.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: An absolute path.
        type: path
        required: true
      state:
        description: What is wanted there.
        type: str
        choices: [file, directory]
        default: file
      content:
        description: The file's whole text.
        type: str
      secret:
        description: The same, and told in no log, difference or error. A line feed ends it if it does not have one.
        type: str
      source:
        description: A file of the machine that is copied.
        type: path
      once:
        description: Leave the content of a file that is there, and is not empty, as it is.
        type: bool
        default: false
      owner:
        description: Name of a user.
        type: str
        default: root
      group:
        description: Name of a group.
        type: str
        default: root
      mode:
        description: Permissions in octal digits. By default 0644, for a directory 0755.
        type: str
      validate:
        description: A command that exits with zero when the file C(%s) is good. It is not run in check mode.
        type: str
      report_before:
        description: Return what the file held where it differs.
        type: bool
        default: false
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target
    support: full
  diff_mode:
    description: Will return details on what has changed, when in diff mode
    support: full
"""

EXAMPLES = r"""
- name: Write configuration and secret
  authd.authd.files:
    entries:
      - {path: /etc/example, state: directory, group: example, mode: "0750"}
      - {path: /etc/example/secret, secret: "{{ example_secret }}", owner: example, group: example, mode: "0600"}
      - path: /etc/example/example.yml
        content: "{{ lookup('ansible.builtin.template', 'example.yml.j2') }}"
        validate: /usr/bin/example --check %s
  register: example_written
"""

RETURN = r"""
written:
  description: Paths whose content, owner, group or mode was changed, or would be. If the task fails, what stays so.
  returned: always
  type: list
  elements: str
before:
  description: By path, what a file with O(entries[].report_before) held. Empty where there was none.
  returned: always
  type: dict
"""

import contextlib  # noqa: E402
import grp  # noqa: E402
import os  # noqa: E402
import pwd  # noqa: E402
import shlex  # noqa: E402
import stat  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

_OCTAL = frozenset("01234567")


class FileError(Exception):
    """An entry cannot be brought about; the text says which, and why."""


@dataclass(frozen=True)
class Entry:
    """What is wanted at a path. `content` is None where what is there is to stay, and for all but files."""

    path: Path
    state: str
    content: bytes | None
    is_secret: bool
    owner: str
    group: str
    mode: int
    validate: str | None
    report_before: bool


@dataclass(frozen=True)
class Change:
    """What was done for an entry. A file held `before`, a link in its place `led_to`; None where there was none."""

    entry: Entry
    before: bytes | None = None
    led_to: str | None = None

    @property
    def is_of_content(self) -> bool:
        """Whether the file holds something else than before."""
        return self.entry.state == "file" and self.entry.content not in (None, self.before)


def read_entry(wanted: dict[str, Any]) -> Entry:
    """What one entry wants, a source read. Raises FileError if it contradicts itself or its source cannot be read."""
    path, state = Path(wanted["path"]), wanted["state"]
    if not path.is_absolute():
        raise FileError(f"{path}: not an absolute path")
    mode = wanted["mode"] or {"file": "644", "directory": "755"}[state]
    if not set(mode) <= _OCTAL:
        raise FileError(f"{path}: mode {mode!r} is not written in octal digits")
    return Entry(
        path=path,
        state=state,
        content=_read_content(path, wanted) if state == "file" else None,
        is_secret=wanted["secret"] is not None,
        owner=wanted["owner"],
        group=wanted["group"],
        mode=int(mode, 8),
        validate=wanted["validate"],
        report_before=wanted["report_before"],
    )


def _read_content(path: Path, wanted: dict[str, Any]) -> bytes | None:
    given = [name for name in ("content", "secret", "source") if wanted[name] is not None]
    if len(given) != 1:
        raise FileError(f"{path}: a file has one of content, secret and source")
    found = _look(path) if wanted["once"] else None
    if found is not None and _kind(found) == "file" and found.st_size > 0:
        return None
    if given == ["source"]:
        try:
            return Path(wanted["source"]).read_bytes()
        except OSError as error:
            raise FileError(f"{path}: its source {error.filename}: {error.strerror}") from error
    text: str = wanted[given[0]]
    if given == ["secret"]:
        text = text.rstrip("\n") + "\n"
    return text.encode()


def apply_entry(entry: Entry, *, check: bool) -> Change | None:
    """What was changed (in `check`: would be). Raises FileError."""
    try:
        found = _look(entry.path)
        kind = _kind(found)
        if kind not in (None, entry.state, "link"):
            raise FileError(f"{entry.path}: there is a {kind} where a {entry.state} is wanted")
        return (_write_file if entry.state == "file" else _make_directory)(entry, found, check)
    except LookupError as error:
        if check:
            # On a fresh machine nobody has made the user yet.
            return Change(entry)
        raise FileError(f"{entry.path}: {error.args[0]}") from error
    except OSError as error:
        raise FileError(f"{entry.path}: {error.strerror}") from error


def take_back(change: Change, faults: list[str]) -> bool:
    """Let a file hold what it held, and say whether it does, or in `faults` why it does not. Owner and mode stay."""
    entry, path = change.entry, change.entry.path
    if not change.is_of_content:
        return False
    try:
        if change.before is not None:
            _replace(path, change.before, _find_user(entry.owner), _find_group(entry.group), entry.mode)
        else:
            path.unlink()
        if change.led_to is not None:
            path.symlink_to(change.led_to)
    except (LookupError, OSError) as error:
        faults.append(f"{path} could not be put back: {error}")
        return False
    return True


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _kind(found: os.stat_result | None) -> str | None:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(found.st_mode), "special file") if found is not None else None


def _make_directory(entry: Entry, found: os.stat_result | None, check: bool) -> Change | None:
    if _kind(found) == "link":
        if entry.path.is_dir():
            return None
        raise FileError(f"{entry.path}: there is a link that leads to no directory where one is wanted")
    owner, group = _find_user(entry.owner), _find_group(entry.group)
    if _attributes(found) == (owner, group, entry.mode):
        return None
    if not check:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            entry.path.mkdir(mode=0o700)
        _set_attributes(entry, owner, group)
    return Change(entry)


def _write_file(entry: Entry, found: os.stat_result | None, check: bool) -> Change | None:
    before = _read(entry.path) if _kind(found) == "file" else None
    led_to = os.readlink(entry.path) if _kind(found) == "link" else None
    owner, group = _find_user(entry.owner), _find_group(entry.group)
    is_same = before is not None and entry.content in (None, before)
    if is_same and _attributes(found) == (owner, group, entry.mode):
        return None
    if not check:
        if is_same:
            _set_attributes(entry, owner, group)
        else:
            _replace(entry.path, entry.content or b"", owner, group, entry.mode, lambda name: _validate(entry, name))
    return Change(entry, before, led_to)


def _read(path: Path) -> bytes:
    """Of a file itself: what a link in its place leads to must not be shown, nor written there when it is put back."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        return file.read()


def _attributes(found: os.stat_result | None) -> tuple[int, int, int] | None:
    return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) if found is not None else None


def _set_attributes(entry: Entry, owner: int, group: int) -> None:
    """Of what is there itself: a link that somebody has put into its place meanwhile is not followed."""
    kind = os.O_DIRECTORY if entry.state == "directory" else os.O_NONBLOCK
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind)
    try:
        os.fchown(descriptor, owner, group)
        os.fchmod(descriptor, entry.mode)
    finally:
        os.close(descriptor)


def _find_user(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise LookupError(f"there is no user {name}") from None


def _find_group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {name}") from None


def _replace(
    path: Path, content: bytes, owner: int, group: int, mode: int, judge: Callable[[str], None] = lambda _: None
) -> None:
    """At no time is there half a file, or one that others may read. What `judge` raises keeps it from its place."""
    # A dot before it: what takes every file of a directory for its own passes over those.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchown(file.fileno(), owner, group)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        judge(name)
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _validate(entry: Entry, name: str) -> None:
    if entry.validate is None:
        return
    command = [word.replace("%s", name) for word in shlex.split(entry.validate)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise FileError(f"{entry.path}: {command[0]}, which tries it: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).replace(name, str(entry.path)) or f"exit {done.returncode}"
        raise FileError(f"{entry.path} was left as it is, {command[0]} refuses the new one: {said}")


def _describe(change: Change) -> dict[str, str]:
    """For --diff, as Ansible's own modules do it."""
    entry = change.entry
    header = {"before_header": str(entry.path), "after_header": str(entry.path)}
    if entry.is_secret or not change.is_of_content:
        return header | {"before": f"{entry.path}: as it was\n", "after": f"{entry.path}: as it is wanted\n"}
    return header | {"before": _decode(change.before), "after": _decode(entry.content)}


def _decode(content: bytes | None) -> str:
    return (content or b"").decode(errors="replace")


def _apply(entries: list[dict[str, Any]], check: bool) -> tuple[list[Change], list[str]]:
    """What is changed now, and what went wrong, in sentences."""
    changes: list[Change] = []
    try:
        for wanted in entries:
            change = apply_entry(read_entry(wanted), check=check)
            if change is not None:
                changes.append(change)
    except FileError as error:
        faults = [str(error)]
        # The last first: a path may have been named twice.
        return [change for change in changes[::-1] if check or not take_back(change, faults)][::-1], faults
    return changes, []


def main() -> None:
    suboptions = {
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["file", "directory"], "default": "file"},
        "content": {"type": "str"},
        "secret": {"type": "str", "no_log": True},
        "source": {"type": "path"},
        "once": {"type": "bool", "default": False},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str"},
        "validate": {"type": "str"},
        "report_before": {"type": "bool", "default": False},
    }
    # `no_log` of the module: whole files have no place in the journal.
    module = AnsibleModule(
        {"entries": {"type": "list", "elements": "dict", "required": True, "options": suboptions}},
        supports_check_mode=True,
        no_log=True,
    )
    changes, faults = _apply(module.params["entries"], module.check_mode)
    written = [str(change.entry.path) for change in changes]
    if faults:
        module.fail_json(msg=". ".join(faults), written=written)
    reported = [change for change in changes if change.entry.report_before]
    module.exit_json(
        changed=bool(changes),
        written=written,
        before={str(change.entry.path): _decode(change.before) for change in reported},
        diff=[_describe(change) for change in changes],
    )


if __name__ == "__main__":
    main()
