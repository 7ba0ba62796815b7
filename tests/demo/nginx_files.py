"""Writes nginx' files: those that authd renders for this configuration, and the hosts around them."""

from __future__ import annotations

from authd.nginx_files import NginxSettings, render_settings, write_files
from tests.demo.hosts import render_hosts, render_nginx
from tests.demo.settings import APPLICATIONS, Settings


def write_nginx_files(settings: Settings) -> dict[str, str]:
    directory = settings.directory / "nginx"
    rendered = render_settings(
        NginxSettings(
            listen=f"unix:{settings.authd_socket}",
            scopes=tuple((a.host, "host") for a in APPLICATIONS),
            cache_directory=str(directory / "cache"),
        )
    )
    write_files({**rendered, "hosts.conf": render_hosts(settings), "nginx.conf": render_nginx(settings)}, directory)
    (directory / "temp").mkdir(exist_ok=True)
    return {a.id: "0" * 64 for a in APPLICATIONS}
