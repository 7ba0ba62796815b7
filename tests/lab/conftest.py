"""The machines, booted once for a module; where they cannot boot, one line says so and nothing of the lab runs."""

from __future__ import annotations

import os

import pytest

from tests.lab.machines import find_obstacle

REQUIRED = "AUTHD_LAB"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "lab":
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session", autouse=True)
def _lab_is_possible() -> None:
    """Whoever sets AUTHD_LAB=required, as continuous integration does where it can, is not content with a skip."""
    if obstacle := find_obstacle():
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(f"{REQUIRED}=required, but {obstacle}")
        pytest.skip(obstacle)
