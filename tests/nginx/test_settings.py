"""Settings that change the rendered files, through a real nginx: TCP, prefix, cookie name, special names."""

from __future__ import annotations

from pathlib import Path

import pytest

from authd.nginx_files import NginxSettings, render_settings, write_files
from tests.harness.nginx import check_nginx, find_free_port
from tests.harness.protected import PROTECTED, Site, render_server

pytestmark = pytest.mark.nginx

SECRET = "0123456789abcdef+/=0123456789abcdef"
SETTINGS = NginxSettings(
    listen=f"127.0.0.1:{find_free_port()}",
    listen_secret=SECRET,
    path_prefix="/my.access",
    cookie_name="Session_2",
    bound_cookies=(("default", "Session_2_1a2b3c4d"), ("volatile", "Session_2_5e6f7a8b")),
    scopes=(("include", "host"), ("a" * 63 + "." + "b" * 63 + ".example.com", "host")),
)
LONG_HOST = SETTINGS.scopes[1][0]
HTTP = (
    "".join(
        render_server(
            host,
            f"""
    location / {{ set $authd_app app; {PROTECTED} }}
    location /default/ {{ set $authd_app default; {PROTECTED} }}
    location /volatile/ {{ set $authd_app volatile; {PROTECTED} }}
""",
        )
        for host in ("app.example.com", "include", LONG_HOST)
    )
    + "server { listen 127.0.0.1:{port}; server_name auth.example.com; include authd/authd-team.conf; }"
)


def test_a_tcp_listener_is_told_the_secret_in_every_request(site: Site) -> None:
    forged = [("X-Authd-Secret", "forged")]
    site.get("app.example.com", "/x", headers=forged)
    site.get("app.example.com", "/my.access/certs", headers=forged)
    site.get("auth.example.com", "/", headers=forged)
    assert [request.target for request in site.authd.seen] == ["/auth", "/challenge", "/app/certs", "/team/"]
    assert {request.get("X-Authd-Secret") for request in site.authd.seen} == {SECRET}


def test_the_secret_does_not_reach_the_application_or_the_visitor(site: Site) -> None:
    for session in ("good", "denied", ""):
        answer = site.get("app.example.com", "/x", headers=[("Cookie", f"Session_2={session}")])
        assert SECRET not in str(answer)
    assert site.application.count == 1


@pytest.mark.parametrize(
    ("target", "arrives"),
    [("/my.access/authorized?a", "/app/authorized?a"), ("/my.access/logout", "/app/logout")],
)
def test_a_prefix_of_ones_own(site: Site, target: str, arrives: str) -> None:
    assert site.get("app.example.com", target).text == f"authd {arrives}"
    assert site.get("auth.example.com", "/my.access/login/x").text == "authd /team/login/x"


def test_a_dot_in_the_prefix_is_a_dot(site: Site) -> None:
    assert site.get("app.example.com", "/myxaccess/certs").status == 302


@pytest.mark.parametrize(("target", "session"), [("/x", "a"), ("/default/x", "b"), ("/volatile/x", "c")])
def test_cookies_have_the_configured_names(site: Site, target: str, session: str) -> None:
    cookies = "Session_2=a; Session_2_1a2b3c4d=b; Session_2_5e6f7a8b=c; CF_AUTHORIZATION=d"
    site.get("app.example.com", target, headers=[("Cookie", cookies)])
    assert site.authd.checks[0].get("X-Authd-Session") == session


@pytest.mark.parametrize("host", ["include", LONG_HOST])
def test_hosts_that_are_long_or_look_like_a_parameter_have_their_scope(site: Site, host: str) -> None:
    site.get(host, "/x")
    assert site.authd.checks[0].get("X-Authd-Scope") == host


def test_thousands_of_hosts_are_accepted_without_a_warning(tmp_path: Path) -> None:
    settings = NginxSettings(
        cache_directory=str(tmp_path / "cache"),
        scopes=tuple((f"host-{number}.example.com", "host") for number in range(3000)),
        bound_cookies=tuple((f"application-{number}", f"C_{number:08x}") for number in range(3000)),
    )
    write_files(render_settings(settings), tmp_path / "authd")
    output = check_nginx(tmp_path, "include authd/authd-http.conf;")
    assert "warn" not in output
