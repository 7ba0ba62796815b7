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
  - The first entry that fails ends the task; what was done before it stays.
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
  description: Paths whose content, owner, group or mode was changed, or would be.
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

_MODES = {"file": "644", "directory": "755"}
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


def read_entry(wanted: dict[str, Any]) -> Entry:
    """What one entry wants, a source read. Raises FileError if it contradicts itself or its source cannot be read."""
    path, state = Path(wanted["path"]), wanted["state"]
    if not path.is_absolute():
        raise FileError(f"{path}: not an absolute path")
    mode = wanted["mode"] or _MODES[state]
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


def apply_entry(entry: Entry, *, check: bool) -> tuple[bool, bytes | None]:
    """Whether something was changed (in `check`: would be), and what the file held before. Raises FileError."""
    try:
        found = _look(entry.path)
        if found is not None and _kind(found) not in (entry.state, "link"):
            raise FileError(f"{entry.path}: there is a {_kind(found)} where a {entry.state} is wanted")
        return _STEPS[entry.state](entry, found, check)
    except LookupError as error:
        if check:
            # On a fresh machine nobody has made the user yet.
            return True, None
        raise FileError(f"{entry.path}: {error.args[0]}") from error
    except OSError as error:
        raise FileError(f"{entry.path}: {error.strerror}") from error


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _kind(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "link"
    return {stat.S_IFREG: "file", stat.S_IFDIR: "directory"}.get(stat.S_IFMT(found.st_mode), "special file")


def _make_directory(entry: Entry, found: os.stat_result | None, check: bool) -> tuple[bool, bytes | None]:
    if found is not None and _kind(found) == "link":
        if entry.path.is_dir():
            return False, None
        raise FileError(f"{entry.path}: there is a link that leads to no directory where one is wanted")
    owner, group = _find_user(entry.owner), _find_group(entry.group)
    if found is not None and _attributes(found) == (owner, group, entry.mode):
        return False, None
    if not check:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            entry.path.mkdir(mode=0o700)
        _set_attributes(entry, owner, group)
    return True, None


def _write_file(entry: Entry, found: os.stat_result | None, check: bool) -> tuple[bool, bytes | None]:
    before = entry.path.read_bytes() if found is not None and _kind(found) == "file" else None
    owner, group = _find_user(entry.owner), _find_group(entry.group)
    is_same = before is not None and entry.content in (None, before)
    if is_same and found is not None and _attributes(found) == (owner, group, entry.mode):
        return False, before
    if not check:
        if is_same:
            _set_attributes(entry, owner, group)
        else:
            _replace(entry, owner, group)
    return True, before


_STEPS: dict[str, Callable[[Entry, os.stat_result | None, bool], tuple[bool, bytes | None]]] = {
    "file": _write_file,
    "directory": _make_directory,
}


def _attributes(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


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


def _replace(entry: Entry, owner: int, group: int) -> None:
    """At no time is there half a file, or one that others may read."""
    # A dot before it: what takes every file of a directory for its own passes over those.
    handle, name = tempfile.mkstemp(prefix=f".{entry.path.name}.", dir=entry.path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(entry.content or b"")
            os.fchown(file.fileno(), owner, group)
            os.fchmod(file.fileno(), entry.mode)
            file.flush()
            os.fsync(file.fileno())
        if entry.validate is not None:
            _validate(entry, name)
        os.replace(name, entry.path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _validate(entry: Entry, name: str) -> None:
    command = [word.replace("%s", name) for word in shlex.split(entry.validate or "")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise FileError(f"{entry.path}: {command[0]}, which tries it: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).replace(name, str(entry.path))
        raise FileError(f"{entry.path} was left as it is, {command[0]} refuses the new one: {said}")


def _describe(entry: Entry, before: bytes | None) -> dict[str, str]:
    """For --diff, as Ansible's own modules do it."""
    header = {"before_header": str(entry.path), "after_header": str(entry.path)}
    if entry.is_secret or entry.content is None or before == entry.content:
        return header | {"before": f"{entry.path}: as it was\n", "after": f"{entry.path}: as it is wanted\n"}
    return header | {"before": _decode(before), "after": _decode(entry.content)}


def _decode(content: bytes | None) -> str:
    return (content or b"").decode(errors="replace")


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
    written: list[str] = []
    before: dict[str, str] = {}
    differences: list[dict[str, str]] = []
    try:
        for wanted in module.params["entries"]:
            entry = read_entry(wanted)
            changed, held = apply_entry(entry, check=module.check_mode)
            if changed:
                written.append(str(entry.path))
                differences.append(_describe(entry, held))
                if entry.report_before:
                    before[str(entry.path)] = _decode(held)
    except FileError as error:
        module.fail_json(msg=str(error), written=written)
    module.exit_json(changed=bool(written), written=written, before=before, diff=differences)


if __name__ == "__main__":
    main()
