"""The identity provider of the lab: npm's certified one, on the client's network, behind an nginx that speaks TLS."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.harness.idp import identity_provider_command
from tests.lab.estate import CLIENT, CLIENT_ID, CLIENT_SECRET, PEOPLE, PROVIDER, TEAM
from tests.lab.machines import Lab

_PORT = 9400
_NGINX = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.log warn; user root;
events {{ }}
http {{
    access_log off; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen {address}:443 ssl;
        server_name {provider};
        ssl_certificate {certificates}/server.pem;
        ssl_certificate_key {certificates}/server.key;
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Proto https;
        }}
    }}
}}
"""


@contextlib.contextmanager
def running_provider(lab: Lab, certificates: Path) -> Iterator[None]:
    """https://idp.example.net, for everybody in the lab. `certificates` holds server.pem and server.key."""
    directory = lab.directory / "provider"
    directory.mkdir()
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    client |= {"redirect_uris": [f"https://{TEAM}/cdn-cgi/access/callback"]}
    settings = {"port": _PORT, "issuer": f"https://{PROVIDER}", "clients": [client], "always_ask": True}
    (directory / "idp.json").write_text(json.dumps(settings | {"people": [asdict(person) for person in PEOPLE]}))
    places = {"directory": directory, "certificates": certificates, "provider": PROVIDER, "port": _PORT}
    (directory / "nginx.conf").write_text(_NGINX.format(**places, address=lab.network.address(CLIENT)))
    with contextlib.ExitStack() as cleanup:
        provider = _start(cleanup, lab, identity_provider_command(directory / "idp.json"))
        assert provider.stdout is not None
        assert provider.stdout.readline(), "the identity provider did not start"
        _start(cleanup, lab, ["nginx", "-c", str(directory / "nginx.conf")])
        yield


def _start(cleanup: contextlib.ExitStack, lab: Lab, command: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        lab.network.on(CLIENT, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    cleanup.enter_context(process)
    cleanup.callback(process.terminate)
    return process
