"""The nginx files for one configuration: what `authd nginx render` writes."""

from authd.nginx_files.from_config import derive_settings, render_nginx_files
from authd.nginx_files.render import render_settings
from authd.nginx_files.settings import DEFAULT_CACHE_DIRECTORY, NginxSettings
from authd.nginx_files.write import write_files

__all__ = [
    "DEFAULT_CACHE_DIRECTORY",
    "NginxSettings",
    "derive_settings",
    "render_nginx_files",
    "render_settings",
    "write_files",
]
