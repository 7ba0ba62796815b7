"""What `make demo` prints when everything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.demo.configuration import ALICE, MALLORY
from tests.demo.settings import APPLICATIONS, HOSTS, Settings

_TEXT = """
Open   {grafana}

       Choose {alice} ({alice_email}): the application greets her.
       Then open {wiki}: no second login.
       Log out there, choose {mallory} ({mallory_email}): she is told why she may not.

Your browser warns, since it does not know the certificate authority that was made for this. Go on past the
warning, once for each of {hosts}.
Or trust {ca}: it can vouch for *.localhost only, and its key is gone.

Look   curl --cacert {ca} -i {grafana}
       curl --cacert {ca} -H 'Accept: application/json' {grafana}api
       .venv/bin/authd explain --config {config} --url {grafana} --email {mallory_email}
Read   {config}   {hosts_conf}   {logs}/
{remote}
Ctrl-C ends it all.
"""
_REMOTE = """
From another machine: ssh -L {port}:127.0.0.1:{port} -L {provider_port}:127.0.0.1:{provider_port} THIS-MACHINE
"""


def render_welcome(settings: Settings, environment: Mapping[str, str]) -> str:
    """The text, with paths as they are from where `make demo` was called."""

    def show(path: Path) -> Path:
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

    grafana, wiki = (f"{settings.url(application.host)}/" for application in APPLICATIONS)
    ports = {"port": settings.port, "provider_port": settings.provider_port}
    return _TEXT.format(
        grafana=grafana,
        wiki=wiki,
        alice=ALICE.claims["name"],
        alice_email=ALICE.claims["email"],
        mallory=MALLORY.claims["name"],
        mallory_email=MALLORY.claims["email"],
        hosts=", ".join(HOSTS),
        ca=show(settings.ca_file),
        config=show(settings.authd_config),
        hosts_conf=show(settings.directory / "nginx" / "hosts.conf"),
        logs=show(settings.directory / "log"),
        remote=_REMOTE.format(**ports) if "SSH_CONNECTION" in environment else "",
    )
