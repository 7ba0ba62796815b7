"""Deploys the estate: ansible/playbook.example.yml over machines on which nothing but an application runs."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.estate import EDGES, LISTENING
from tests.lab.inventory import write_files, write_inventory
from tests.lab.machines import Lab
from tests.lab.playbook import Run, run_playbook, write_play

_EXAMPLE = Path(__file__).parents[2] / "ansible/playbook.example.yml"
_APPLICATION_UNIT = """[Unit]
After=network-online.target
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/application.py {name} {address} {port}
DynamicUser=yes
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the operator has at hand: the machines, a playbook with its inventory, and the release in service."""

    lab: Lab
    playbook: Path
    inventory: Path
    bundle: Path

    def run(self, *options: str, **variables: Any) -> Run:
        """The whole playbook. Raises LabError."""
        return run_playbook(self.lab, self.playbook, self.inventory, self._with(variables), *options).must()

    def play(self, hosts: str, *roles: str, **variables: Any) -> Run:
        """Some roles over some hosts. Raises LabError."""
        play = write_play(self.playbook.parent, hosts, roles)
        return run_playbook(self.lab, play, self.inventory, self._with(variables)).must()

    def _with(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"authd_release_file": str(self.bundle), **variables}


def deploy(lab: Lab, certificates: Path, bundle: Path) -> Deployment:
    """Everything, from nothing. Raises LabError."""
    directory = lab.directory / "operator"
    directory.mkdir(mode=0o700)
    shutil.copy(_EXAMPLE, directory / "playbook.yml")
    write_files(certificates, directory / "files")
    deployment = Deployment(lab, directory / "playbook.yml", write_inventory(lab, certificates, directory), bundle)
    with ThreadPoolExecutor(2) as at_once:
        list(at_once.map(lambda edge: _trust_provider(lab, edge, certificates), EDGES))
        list(at_once.map(lambda origin: _run_application(lab, origin), LISTENING))
    deployment.run(at_once=len(lab.machines))
    return deployment


def _trust_provider(lab: Lab, edge: str, certificates: Path) -> None:
    """Its authority is the lab's own; a company's provider has a certificate that every machine knows."""
    lab[edge].write("/usr/local/share/ca-certificates/lab.crt", (certificates / "ca.pem").read_text())
    lab[edge].run("update-ca-certificates")


def _run_application(lab: Lab, origin: str) -> None:
    """Which is not ours to deploy."""
    address, port = LISTENING[origin]
    machine = lab[origin]
    machine.write("/usr/local/lib/application.py", Path(__file__).with_name("application.py").read_text())
    unit = _APPLICATION_UNIT.format(name=origin, address=address, port=port)
    machine.write("/etc/systemd/system/application.service", unit)
    machine.shell("systemctl daemon-reload; systemctl enable --now application")
