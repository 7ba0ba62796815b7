"""One lab a module: an edge with two replicas of one application, four connections each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tunnel.lab import (
    ORIGIN,
    SECOND,
    Lab,
    add_origin,
    make_key,
    require_lab,
    running_lab,
    start_edge,
    start_origin,
    wait_until,
    write_origin,
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One origin, connected."""
    require_lab()
    with running_lab() as made:
        make_key(made.edge / "host_ed25519")
        add_origin(made, "app1")
        write_origin(made, "app1")
        start_edge(made)
        start_origin(made, ORIGIN, "app1")
        wait_until(lambda: made.get() == "app1", seconds=20)
        wait_until(lambda: made.status().get("app1", {}).get("connections") == 4, seconds=20)
        yield made


@pytest.fixture(scope="module")
def replicas() -> Iterator[Lab]:
    """Two origins of one service, connected."""
    require_lab()
    with running_lab() as made:
        make_key(made.edge / "host_ed25519")
        for host, name in ((ORIGIN, "app1"), (SECOND, "app2")):
            add_origin(made, name)
            write_origin(made, name)
            start_origin(made, host, name)
        start_edge(made)
        wait_until(lambda: {made.get() for _ in range(8)} == {"app1", "app2"}, seconds=30)
        yield made
