"""A port that is taken is named, with who has it."""

from __future__ import annotations

import os
import socket

import pytest

from tests.demo.ports import find_port_owner, require_free_port
from tests.demo.settings import DemoError


def test_a_free_port_is_no_obstacle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    require_free_port(port, "DEMO_PORT")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named_with_its_owner_and_the_way_out(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(DemoError) as caught:
            require_free_port(port, "DEMO_PORT")
    text = str(caught.value)
    assert f"Port {port} is taken by" in text
    assert f"(process {os.getpid()})" in text
    assert "DEMO_PORT=" in text


def test_a_connection_to_that_port_number_elsewhere_is_no_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert find_port_owner(client.getsockname()[1]) is None
