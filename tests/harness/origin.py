"""An origin behind a running edge: nginx and `authd serve` of its own, which only verifies the edge's tokens.

The edge's nginx sends what it lets through to `port`; it is plain HTTP there, as in a tunnel.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.harness.echo import EchoApplication
from tests.harness.nginx import running_nginx
from tests.harness.stack import Stack, _render_nginx, _write_secret


@contextlib.contextmanager
def start_origin(
    edge: Stack, directory: Path, *, port: int, applications: Sequence[dict[str, Any]], **settings: Any
) -> Iterator[Stack]:
    """Runs until left. `application` of the stack that is yielded is the origin's own."""
    _write_secret(directory / "secret", base64.b64encode(os.urandom(32)).decode())
    config = {
        "listen": f"unix:{directory}/authd.sock",
        "state": f"sqlite:{directory}/authd.db",
        "secret_file": "secret",
        "applications": list(applications),
        **settings,
    }
    (directory / "authd.yml").write_text(yaml.safe_dump(config))
    _render_nginx(directory)
    with contextlib.ExitStack() as cleanup:
        application = cleanup.enter_context(EchoApplication())
        started: list[Stack] = []
        cleanup.callback(lambda: [stack.stop_authd() for stack in started])
        text = _render_http(port, application.port, applications)
        nginx = cleanup.enter_context(running_nginx(directory, text, port=port))
        origin = replace(
            edge, directory=directory, port=port, nginx=nginx, application=application, config=config, authd=None
        )
        started.append(origin)
        origin.start_authd()
        yield origin


def _render_http(port: int, application_port: int, applications: Sequence[dict[str, Any]]) -> str:
    servers = "".join(
        f"""server {{
            listen 127.0.0.1:{port};
            server_name {each["domains"][0]};
            include authd/authd-server.conf;
            location / {{
                set $authd_app {each["id"]};
                include authd/authd-protect.conf;
                include authd/authd-identity.conf;
                proxy_pass http://127.0.0.1:{application_port};
            }}
        }}"""
        for each in applications
    )
    default = f"server {{ listen 127.0.0.1:{port} default_server; return 444; }}"
    return f"include authd/authd-http.conf;\n{default}\n{servers}"
