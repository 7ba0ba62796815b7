"""The playbook over the estate that it has deployed. What it makes of bad states is in test_roles.py."""

from __future__ import annotations

from tests.lab.estate import NAMED
from tests.lab.figures import tell
from tests.lab.provision import Deployment


def test_a_second_run_changes_nothing(deployment: Deployment) -> None:
    run = deployment.run()
    tell(f"{run.seconds:.0f} s for a second run of the playbook over all machines")
    assert run.changed == dict.fromkeys(NAMED.values(), 0), run.changes
