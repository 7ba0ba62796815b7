"""An nginx with the rendered files, an echo application and a stand-in for authd: what most tests need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from authd.nginx_files import NginxSettings, render_settings, write_files
from tests.harness.echo import EchoApplication
from tests.harness.nginx import Nginx, find_free_port, running_nginx
from tests.harness.raw_http import Message, fetch, send_raw
from tests.harness.standin import StandIn

# What stands in a protected location after "set $authd_app NAME;".
PROTECTED = """
    include authd/authd-protect.conf;
    include authd/authd-identity.conf;
    proxy_pass http://{app};
"""


def render_server(name: str, text: str, *, before: str = "", listen: str = "127.0.0.1:{port}") -> str:
    """A server with authd's files. `before` stands before the include, where an operator should put nothing."""
    return f"""
server {{
    listen {listen};
    server_name {name};
    {before}
    include authd/authd-server.conf;
    {text}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """`get` asks nginx; `application` and `authd` remember what reached them."""

    port: int
    http2_port: int
    nginx: Nginx
    application: EchoApplication
    authd: StandIn

    def get(
        self,
        host: str,
        target: str = "/",
        *,
        session: str = "",
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Message:
        """Asks as a visitor. `session` is the value of the session's cookie."""
        cookie = [("Cookie", f"CF_AUTHORIZATION={session}")] if session else []
        return fetch(self.port, target, host=host, method=method, headers=[*headers, *cookie], body=body)

    def send(self, data: bytes) -> Message | None:
        return send_raw(self.port, data)

    def forget(self) -> None:
        self.application.seen.clear()
        self.authd.reset()


@contextlib.contextmanager
def running_site(directory: Path, http: str, settings: NginxSettings | None = None) -> Iterator[Site]:
    """Starts all three. `authd-http.conf` is included; the others are written as an operator writes them.

    In `http`, `{port}` and `{http2_port}` are nginx' ports, `{app}` is the application's address and `{directory}`
    the temporary directory. The settings' unix socket and cache directory are moved there.
    """
    settings = replace(settings or NginxSettings(), cache_directory=str(directory / "cache"))
    if settings.listen.startswith("unix:"):
        settings = replace(settings, listen=f"unix:{directory}/authd.sock")
    write_files(render_settings(settings), directory / "authd", mode=0o600)
    with EchoApplication() as application, StandIn(_address(settings.listen)) as authd:
        port, http2_port = find_free_port(), find_free_port()
        text = f"include authd/authd-http.conf;\n{http}"
        for name, value in (("port", port), ("http2_port", http2_port), ("directory", directory)):
            text = text.replace(f"{{{name}}}", str(value))
        text = text.replace("{app}", f"127.0.0.1:{application.port}")
        with running_nginx(directory, text, port=port) as nginx:
            yield Site(port, http2_port, nginx, application, authd)


def _address(listen: str) -> Path | tuple[str, int]:
    if listen.startswith("unix:"):
        return Path(listen.removeprefix("unix:"))
    host, _, port = listen.rpartition(":")
    return host, int(port)
