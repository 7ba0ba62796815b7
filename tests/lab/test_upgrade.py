"""Another version of authd on an edge, and back, while a crowd asks there."""

from __future__ import annotations

import json

from tests.lab.estate import ALICE, GRAFANA, NAMED
from tests.lab.figures import tell
from tests.lab.load import Load
from tests.lab.machines import wait_until
from tests.lab.provision import Deployment
from tests.lab.visitors import Visitor, is_served
from tests.release.bundles import ensure_bundle, version_of

_EDGE = "edge1"
_REQUESTS = 10_000
# It is installed, reads the configuration, and then dies in the middle of its start.
_OTHER = "$(dirname /opt/authd/previous/lib/python3*/site-packages/authd/serve.py)/serve.py"
_BREAK_THE_OTHER_VERSION = f'cp {_OTHER} /srv/kept.py; echo "raise SystemExit(3)" >> {_OTHER}'
_MEND_THE_OTHER_VERSION = f"cp /srv/kept.py {_OTHER}"


def test_an_upgrade_a_rollback_and_a_version_that_does_not_start_fail_no_request(deployment: Deployment) -> None:
    machine, newer = deployment.lab[_EDGE], ensure_bundle("two")

    def ask_version() -> str:
        return str(json.loads(machine.run("authd-release", "--json", "status").stdout)["version"])

    alice = Visitor(deployment.lab.network)
    assert is_served(alice.log_in(ALICE, GRAFANA, edge=_EDGE))
    before = ask_version()
    load = Load(alice, _EDGE, GRAFANA)
    with load.going_on():
        deployment.play(NAMED[_EDGE], "authd", authd_release_file=str(newer))
        assert ask_version() == version_of(newer) != before
        machine.run("authd-release", "rollback", seconds=300)
        assert ask_version() == before
        machine.shell(_BREAK_THE_OTHER_VERSION)
        refused = machine.run("authd-release", "rollback", check=False, seconds=300)
        assert (refused.returncode, "was not taken into service" in refused.stderr) == (1, True), refused.stderr
        machine.shell(_MEND_THE_OTHER_VERSION)
        assert before in machine.run("authd", "ready").stdout
        wait_until(lambda: load.statuses.total() >= _REQUESTS, f"{_REQUESTS} requests", seconds=600)
    tell(f"answers during an upgrade and a rollback under load: {dict(load.statuses)}")
    assert load.failed == {}
    # With a connection for each request the edge runs out of ports in a minute, and says 502.
    assert int(machine.shell("ss -Htan state time-wait | grep -c ':3000 *$' || true")) < _REQUESTS // 10
    assert is_served(alice.ask(GRAFANA))
