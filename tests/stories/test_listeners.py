"""How nginx reaches authd: over a TCP port with a secret, or over a socket that belongs to its group."""

from __future__ import annotations

import grp
import stat
from collections.abc import Iterator

import pytest

from tests.harness.nginx import find_free_port
from tests.harness.stack import Stack, start_stack

SECRET = "kDq8yqP1v0o3b2n5c7m9x1z4a6s8d0f2"


@pytest.fixture(scope="module")
def over_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("tcp")
    (directory / "listener.secret").write_text(SECRET + "\n")
    (directory / "listener.secret").chmod(0o600)
    settings = {"listen": f"127.0.0.1:{find_free_port()}", "listen_secret_file": "listener.secret"}
    with start_stack(directory, settings=settings) as running:
        yield running


def test_over_tcp_somebody_logs_in_as_over_a_socket(over_tcp: Stack) -> None:
    browser = over_tcp.log_in(over_tcp.url("grafana.test", "/x?y=%26"), "alice")

    assert browser.history[-1].json()["target"] == "/x?y=%26"


@pytest.mark.parametrize("path", ["/auth", "/challenge", "/healthz", "/readyz", "/metrics", "/team/certs", "/nothing"])
@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", SECRET[:-1], SECRET.lower()])
def test_over_tcp_whoever_does_not_know_the_secret_gets_nothing(over_tcp: Stack, path: str, secret: str | None) -> None:
    headers = [] if secret is None else [("X-Authd-Secret", secret)]

    assert over_tcp.fetch_authd(path, headers) == (403, b"")


def test_over_tcp_the_secret_stays_between_nginx_and_authd(over_tcp: Stack) -> None:
    browser = over_tcp.log_in(over_tcp.url("grafana.test"), "alice")

    assert SECRET not in browser.history[-1].text
    assert SECRET not in over_tcp.log_text
    assert all(SECRET not in str(step.headers) for step in browser.history)
    answer = over_tcp.browser().request(over_tcp.url("grafana.test"), headers=[("X-Authd-Secret", SECRET)])
    assert answer.status == 302


def test_the_socket_belongs_to_nginx_group_and_is_closed_to_others(tmp_path: object, installation: Stack) -> None:
    mode = (installation.directory / "authd.sock").stat().st_mode

    assert stat.S_IMODE(mode) == 0o660


def test_the_socket_is_given_to_the_group_that_the_setting_names(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    group = grp.getgrnam("www-data")
    directory = tmp_path_factory.mktemp("group")
    with start_stack(directory, settings={"socket_group": group.gr_name}) as stack:
        socket = (stack.directory / "authd.sock").stat()

        assert (socket.st_gid, stat.S_IMODE(socket.st_mode)) == (group.gr_gid, 0o660)
        assert stack.browser().request(stack.url("grafana.test")).status == 302
