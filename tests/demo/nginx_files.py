"""Writes nginx' files: those that authd renders for this configuration, and the hosts around them."""

from __future__ import annotations

from dataclasses import replace

from authd.config import load_config
from authd.nginx_files import render_settings, write_files
from authd.nginx_files.from_config import derive_settings
from authd.policy.index import build_index
from tests.demo.hosts import render_hosts, render_nginx
from tests.demo.settings import APPLICATIONS, Settings


def write_nginx_files(settings: Settings) -> dict[str, str]:
    """Write all that nginx reads; the AUD tag of each application, by id. Raises ConfigError."""
    config = load_config(settings.authd_config)
    directory = settings.directory / "nginx"
    # As `authd nginx render` does it, but for the cache, which is not to lie outside our directory.
    files = render_settings(replace(derive_settings(config), cache_directory=str(directory / "cache")))
    files |= {"hosts.conf": render_hosts(settings), "nginx.conf": render_nginx(settings)}
    write_files(files, directory)
    (directory / "temp").mkdir(exist_ok=True)
    index = build_index(config)
    return {application.id: index.get_application(application.id).aud for application in APPLICATIONS}
