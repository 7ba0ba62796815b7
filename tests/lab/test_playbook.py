"""The playbook over the estate that it has deployed. What it makes of bad states is in test_roles.py."""

from __future__ import annotations

from pathlib import Path

from tests.lab.estate import EDGES
from tests.lab.figures import tell
from tests.lab.provision import Deployment


def test_a_second_run_changes_nothing(deployment: Deployment, bundle: Path) -> None:
    run = deployment.run(bundle)
    tell(f"{run.seconds:.0f} s for a second run of the playbook over both edges")
    assert run.changed == dict.fromkeys(EDGES, 0), run.changes
