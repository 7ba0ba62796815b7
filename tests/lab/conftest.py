"""The machines, booted once for a module; where they cannot boot, one line says so and nothing of the lab runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.demo.certificates import ensure_certificates
from tests.lab.estate import CERTIFIED, CLIENTS, NAMES, NUMBERS
from tests.lab.figures import list_told, tell
from tests.lab.machines import Lab, find_obstacle, running_machines
from tests.lab.provider import running_provider
from tests.lab.provision import Deployment, deploy
from tests.lab.watching import Watch, begin_watch
from tests.release.bundles import ensure_bundle

REQUIRED = "AUTHD_LAB"
_OF_THE_ESTATE = {"test_clocks", "test_faults", "test_playbook", "test_upgrade", "test_use"}
_OF_THE_SPARE = {"test_acme", "test_ipranges_role", "test_wireguard_role"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "lab":
            item.add_marker(pytest.mark.lab)


class _OneEstate(LoadScopeScheduling):  # type: ignore[misc]
    """Whoever has the estate has all of its modules, and who has the spare machines all of theirs."""

    def _split_scope(self, nodeid: str) -> str:
        module = Path(nodeid.partition("::")[0]).stem
        return "estate" if module in _OF_THE_ESTATE else "spare" if module in _OF_THE_SPARE else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneEstate:
    return _OneEstate(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The process that runs the tests hands its figures to the one that has the terminal."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["lab_told"] = list_told()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for sentence in getattr(node, "workeroutput", {}).get("lab_told", ()):
        tell(sentence)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for sentence in list_told():
        terminalreporter.write_line(f"lab: {sentence}")


@pytest.fixture(scope="session", autouse=True)
def _lab_is_possible() -> None:
    """Whoever sets AUTHD_LAB=required, as continuous integration does where it can, is not content with a skip."""
    if obstacle := find_obstacle():
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(f"{REQUIRED}=required, but {obstacle}")
        pytest.skip(obstacle)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, `server.pem` and `server.key`, for every name of the estate."""
    directory = tmp_path_factory.mktemp("certificates")
    ensure_certificates(directory, CERTIFIED)
    return directory


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The release that is deployed first."""
    return ensure_bundle("one")


@pytest.fixture(scope="session")
def deployment(certificates: Path, bundle: Path, _lab_is_possible: None) -> Iterator[Deployment]:
    """The whole estate, deployed on machines that were empty."""
    with running_machines(NUMBERS, also=CLIENTS, names=NAMES) as lab, running_provider(lab, certificates):
        began = time.monotonic()
        made = deploy(lab, certificates, bundle)
        tell(f"{time.monotonic() - began:.0f} s from booted machines to the whole estate")
        yield made


@pytest.fixture
def watch(deployment: Deployment) -> Iterator[Watch]:
    """Begins with everything whole."""
    begun = begin_watch(deployment.lab)
    yield begun
    print(sorted(begun.seen.items()))


@pytest.fixture
def estate(deployment: Deployment) -> Lab:
    """Its machines. Each test leaves them as whole as it found them."""
    return deployment.lab


@pytest.fixture(scope="session")
def spare(_lab_is_possible: None) -> Iterator[Lab]:
    """Two machines beside the estate, for roles that it does not use; each module leaves them running."""
    names = {f"{name}.spare.test": "spare" for name in ("auth", "app", "late")}
    with running_machines({"spare": 41, "far": 42}, also={"authority": 40}, names=names) as lab:
        yield lab
