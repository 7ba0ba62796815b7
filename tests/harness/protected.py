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


@dataclass(frozen=True, slots=True)
class Site:
    """`get` asks nginx; `application` and `authd` remember what reached them."""

    port: int
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
    """Starts all three. In `http`, `{port}` is nginx' port, `{app}` the application's address.

    Includes are written as an operator writes them: `include authd/authd-protect.conf;`.
    """
    socket_path = directory / "authd.sock"
    settings = replace(
        settings or NginxSettings(), listen=f"unix:{socket_path}", cache_directory=str(directory / "cache")
    )
    write_files(render_settings(settings), directory / "authd")
    with EchoApplication() as application, StandIn(socket_path) as authd:
        port = find_free_port()
        text = http.replace("{port}", str(port)).replace("{app}", f"127.0.0.1:{application.port}")
        with running_nginx(directory, text, port=port) as nginx:
            yield Site(port, nginx, application, authd)
