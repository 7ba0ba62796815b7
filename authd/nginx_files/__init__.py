"""The nginx files for one configuration: what `authd nginx render` writes. `from_config` reads the configuration."""

from authd.nginx_files.render import render_settings
from authd.nginx_files.settings import DEFAULT_CACHE_DIRECTORY, NginxSettings
from authd.nginx_files.write import write_files

__all__ = ["DEFAULT_CACHE_DIRECTORY", "NginxSettings", "render_settings", "write_files"]
