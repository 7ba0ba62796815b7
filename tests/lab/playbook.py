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
# On a machine that is three times as slow as ours, with another lab beside this one.
_MOST_SECONDS = 1800
# As in the example: what the roles look at, and no inventory of the hardware.
FACTS = ["!all", "!min", "distribution", "service_mgr"]


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to. `changed` and `failed` are by machine; one that was not reached has failed."""

    output: str
    seconds: float
    changed: Mapping[str, int]
    failed: Mapping[str, int]

    @property
    def is_good(self) -> bool:
        return bool(self.failed) and not any(self.failed.values())

    @property
    def changes(self) -> str:
        """The tasks that changed something, for a message."""
        task, found = "", []
        for line in self.output.splitlines():
            task = line if line.startswith(("TASK", "RUNNING HANDLER")) else task
            if line.startswith("changed:"):
                found.append(f"{task.strip('* ')} {line}")
        return "\n".join(found)

    def must(self) -> Run:
        """Raises LabError where a task failed, with the end of what was said."""
        if not self.is_good:
            raise LabError(f"the playbook failed: {self.output[-4000:]}")
        return self


def write_play(directory: Path, hosts: str, roles: Sequence[str]) -> Path:
    """A playbook of these roles alone. What an inventory looks up lies beside the playbook."""
    play = {"hosts": hosts, "gather_subset": FACTS, "roles": [{"role": f"authd.authd.{role}"} for role in roles]}
    path = directory / f"{'-'.join(roles)}.json"
    path.write_text(json.dumps([play]))
    return path


def run_roles(lab: Lab, host: str, roles: Sequence[str], variables: Mapping[str, Any], *options: str) -> Run:
    """Some roles over one machine, with no inventory but its name."""
    inventory = lab.directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": dict.fromkeys(lab.machines)}}))
    return run_playbook(lab, write_play(lab.directory, host, roles), inventory, variables, *options)


def run_playbook(lab: Lab, playbook: Path, inventory: Path, variables: Mapping[str, Any], *options: str) -> Run:
    """`variables` replace what the inventory says."""
    directory = _directory(lab)
    (directory / "variables.json").write_text(
        json.dumps({"ansible_python_interpreter": "/usr/bin/python3", **variables})
    )
    # An interpreter by its path: Ansible's own programs begin with the path that they were installed to.
    command = [str(_ANSIBLE / "bin/python"), str(_ANSIBLE / "bin/ansible-playbook"), "--inventory", str(inventory)]
    command += ["--extra-vars", f"@{directory / 'variables.json'}", *options, str(playbook)]
    began = time.monotonic()
    done = lab.as_operator(*command, environment=_environment(lab, directory), seconds=_MOST_SECONDS)
    recap = _RECAP.findall(done.stdout)
    changed = {name: int(changed) for name, _, changed, _, _ in recap}
    failed = {name: int(unreachable) + int(failed) for name, _, _, unreachable, failed in recap}
    return Run(done.stdout + done.stderr, time.monotonic() - began, changed, failed)


def _directory(lab: Lab) -> Path:
    directory = lab.directory / "ansible"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _environment(lab: Lab, directory: Path) -> dict[str, str]:
    ssh = f"-F {lab.ssh_config} -o ControlMaster=auto -o ControlPersist=600s"
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(_ANSIBLE / "collections"),
        "ANSIBLE_HOME": str(directory),
        "ANSIBLE_SSH_ARGS": ssh,
        # Two labs at once have machines of the same names and addresses: each keeps its connections to itself.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
        "ANSIBLE_PIPELINING": "1",
        # What is known of a machine is asked once a run, and not in each of its plays.
        "ANSIBLE_GATHERING": "smart",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
