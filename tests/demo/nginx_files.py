"""Writes nginx' files: those that authd renders for this configuration, and the hosts around them."""

from __future__ import annotations

from authd.config.load import load_config
from authd.nginx_files import NginxSettings, render_settings, write_files
from authd.policy.index import PolicyIndex, build_index
from tests.demo.hosts import render_hosts, render_nginx
from tests.demo.settings import APPLICATIONS, Settings


def write_nginx_files(settings: Settings) -> dict[str, str]:
    """Write all that nginx reads; the AUD tag of each application, by id. Raises ConfigError."""
    index = build_index(load_config(settings.authd_config))
    directory = settings.directory / "nginx"
    files = _render_authd_files(settings, index)
    files |= {"hosts.conf": render_hosts(settings), "nginx.conf": render_nginx(settings)}
    write_files(files, directory)
    (directory / "temp").mkdir(exist_ok=True)
    return {application.id: index.get_application(application.id).aud for application in APPLICATIONS}


def _render_authd_files(settings: Settings, index: PolicyIndex) -> dict[str, str]:
    hosts = (application.host for application in APPLICATIONS)
    return render_settings(
        NginxSettings(
            listen=f"unix:{settings.authd_socket}",
            scopes=tuple((host, index.decision_scope(host)) for host in hosts),
            cache_directory=str(settings.directory / "nginx" / "cache"),
        )
    )
