"""The nginx configuration of the demonstration: what an operator would write, around what authd renders."""

from __future__ import annotations

from tests.demo.ports import has_ipv6
from tests.demo.settings import APPLICATIONS, TEAM_HOST, DemoApplication, Settings
from tests.harness.nginx import render_main

_DEFAULT = """\
# The demonstration's hosts. The files named authd-*.conf beside this one were written by the same function
# as `authd nginx render` writes them with.
include authd-http.conf;

ssl_certificate {directory}/server.pem;
ssl_certificate_key {directory}/server.key;
ssl_protocols TLSv1.2 TLSv1.3;

# A host that nobody named.
server {{
{listen_default}
    server_name _;
    ssl_reject_handshake on;
    large_client_header_buffers 4 32k;
    return 444;
}}

# Where people log in.
server {{
{listen}
    server_name {team_host};
    include authd-team.conf;
}}
"""
_APPLICATION = """
server {{
{listen}
    server_name {host};
    include authd-server.conf;

    location / {{
        set $authd_app {id};
        include authd-protect.conf;
        include authd-identity.conf;
        proxy_pass http://unix:{socket};
    }}
}}
"""


def render_hosts(settings: Settings) -> str:
    """The text of hosts.conf: the default server, the team host, and one host for each application."""
    text = _DEFAULT.format(
        directory=settings.directory,
        listen_default=_listen(settings, " default_server"),
        listen=_listen(settings),
        team_host=TEAM_HOST,
    )
    return text + "".join(_render_application(settings, one) for one in APPLICATIONS)


def render_nginx(settings: Settings) -> str:
    """The text of nginx.conf: an nginx of one worker that writes nothing outside the demonstration's directory."""
    return render_main(settings.directory / "nginx", "    include hosts.conf;")


def _render_application(settings: Settings, application: DemoApplication) -> str:
    return _APPLICATION.format(
        listen=_listen(settings),
        host=application.host,
        id=application.id,
        socket=settings.socket(application),
    )


def _listen(settings: Settings, option: str = "") -> str:
    addresses = ["127.0.0.1", *(["[::1]"] if has_ipv6() else [])]
    return "\n".join(f"    listen {address}:{settings.port} ssl{option};" for address in addresses)
