"""Another version of authd on an edge, and back, while a crowd asks there."""

from __future__ import annotations

import json

from tests.lab.estate import ALICE, GRAFANA
from tests.lab.figures import tell
from tests.lab.load import Load
from tests.lab.machines import wait_until
from tests.lab.provision import Deployment
from tests.lab.visitors import Visitor, is_served
from tests.release.bundles import ensure_bundle, version_of

_EDGE = "edge1"
_REQUESTS = 10_000


def test_an_upgrade_by_the_playbook_and_a_rollback_fail_no_request(deployment: Deployment) -> None:
    machine, newer = deployment.lab[_EDGE], ensure_bundle("lab.2")

    def ask_version() -> str:
        return str(json.loads(machine.run("authd-release", "--json", "status").stdout)["version"])

    alice = Visitor(deployment.lab.network)
    assert is_served(alice.log_in(ALICE, GRAFANA, edge=_EDGE))
    before = ask_version()
    load = Load(alice, _EDGE, GRAFANA)
    with load.going_on():
        deployment.run(newer, ["authd"], "--limit", _EDGE)
        assert ask_version() == version_of(newer) != before
        machine.run("authd-release", "rollback", seconds=300)
        assert ask_version() == before
        wait_until(lambda: load.statuses.total() >= _REQUESTS, f"{_REQUESTS} requests", seconds=600)
    tell(f"answers during an upgrade and a rollback under load: {dict(load.statuses)}")
    assert load.failed == {}
    assert is_served(alice.ask(GRAFANA))
