"""Runs Ansible at the operator's seat, with the roles of this checkout, over ssh."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.machines import Lab, LabError

_ANSIBLE = Path(__file__).parents[2] / ".cache/ansible"
_RECAP = re.compile(r"^(\S+)\s*: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to. `changed` and `failed` are by machine; one that was not reached has failed."""

    output: str
    seconds: float
    changed: Mapping[str, int]
    failed: Mapping[str, int]

    @property
    def changes(self) -> str:
        """The tasks that changed something, for a message."""
        task, found = "", []
        for line in self.output.splitlines():
            task = line if line.startswith("TASK") else task
            if line.startswith("changed:"):
                found.append(f"{task.strip('* ')} {line}")
        return "\n".join(found)


def run_playbook(
    lab: Lab, hosts: Mapping[str, Mapping[str, Any]], roles: Sequence[str], variables: Mapping[str, Any], *options: str
) -> Run:
    """`hosts` with what each alone is told. Raises LabError where a task failed, with the end of what was said."""
    run = _run(lab, hosts, roles, variables, *options)
    if not run.failed or any(run.failed.values()):
        raise LabError(f"the playbook failed: {run.output[-3000:]}")
    return run


def _run(
    lab: Lab, hosts: Mapping[str, Mapping[str, Any]], roles: Sequence[str], variables: Mapping[str, Any], *options: str
) -> Run:
    directory = lab.directory / "ansible"
    directory.mkdir(mode=0o700, exist_ok=True)
    known = {"ansible_python_interpreter": "/usr/bin/python3", **variables}
    inventory = {"all": {"hosts": {name: dict(own) for name, own in hosts.items()}, "vars": known}}
    (directory / "inventory.json").write_text(json.dumps(inventory))
    play = {"hosts": "all", "roles": [{"role": f"authd.authd.{role}"} for role in roles]}
    (directory / "playbook.json").write_text(json.dumps([play]))
    began = time.monotonic()
    # An interpreter by its path: Ansible's own programs begin with the path that they were installed to.
    command = [str(_ANSIBLE / "bin/ansible-playbook"), "--inventory", str(directory / "inventory.json"), *options]
    done = lab.as_operator(*command, str(directory / "playbook.json"), environment=_environment(lab, directory))
    recap = _RECAP.findall(done.stdout)
    changed = {name: int(changed) for name, _, changed, _, _ in recap}
    failed = {name: int(unreachable) + int(failed) for name, _, _, unreachable, failed in recap}
    return Run(done.stdout + done.stderr, time.monotonic() - began, changed, failed)


def _environment(lab: Lab, directory: Path) -> dict[str, str]:
    ssh = f"-F {lab.ssh_config} -o ControlMaster=auto -o ControlPersist=60s"
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(_ANSIBLE / "collections"),
        "ANSIBLE_HOME": str(directory),
        "ANSIBLE_SSH_ARGS": ssh,
        # Two labs at once have machines of the same names and addresses: each keeps its connections to itself.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
