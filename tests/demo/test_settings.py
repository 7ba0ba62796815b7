"""What somebody sets in the environment is checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demo.settings import DEFAULT_PORT, MAX_SOCKET_PATH_BYTES, DemoError, parse_settings


def test_without_any_setting_the_ports_are_those_of_the_readme() -> None:
    settings = parse_settings({"DEMO_PORT": ""}, Path("/srv/authd/.demo"))
    assert (settings.port, settings.issuer) == (DEFAULT_PORT, "https://auth.localhost:8443")


@pytest.mark.parametrize("port", ["0", "65536", "https", "8443 ", "-1", "²"])
def test_a_port_that_is_none_is_refused_with_its_name(port: str) -> None:
    with pytest.raises(DemoError, match="DEMO_PROVIDER_PORT must be a port") as caught:
        parse_settings({"DEMO_PROVIDER_PORT": port}, Path("/srv"))
    assert repr(port) in str(caught.value)


def test_two_servers_cannot_have_one_port() -> None:
    with pytest.raises(DemoError, match="both 9000"):
        parse_settings({"DEMO_PORT": "9000", "DEMO_PROVIDER_PORT": "9000"}, Path("/srv"))


def test_a_checkout_whose_path_is_too_long_for_a_unix_socket_is_told_by_how_much() -> None:
    fits = MAX_SOCKET_PATH_BYTES - len("/run/grafana.sock")
    parse_settings({}, Path("/" + "x" * (fits - 1)))
    with pytest.raises(DemoError, match="1 bytes too long for a unix socket"):
        parse_settings({}, Path("/" + "x" * fits))
