"""Renders the nginx files. Pure: the same settings always give the same text."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from authd.nginx_files.directives import NginxText
from authd.nginx_files.settings import NginxSettings

FILE_NAMES = (
    "authd-cookie.conf",
    "authd-default.conf",
    "authd-http.conf",
    "authd-identity-fastcgi.conf",
    "authd-identity-grpc.conf",
    "authd-identity-scgi.conf",
    "authd-identity-uwsgi.conf",
    "authd-identity.conf",
    "authd-protect.conf",
    "authd-renew.conf",
    "authd-server.conf",
    "authd-team.conf",
)


def render_settings(settings: NginxSettings) -> dict[str, str]:
    """The text of every file, by name. Raises ConfigError if a value cannot stand in nginx configuration."""
    values = settings.quoted()
    return {name: _TEMPLATES.get_template(name).render(values) for name in FILE_NAMES}


def _refuse_unquoted(value: Any) -> NginxText:
    # Every value that a template prints passes here; one that nobody quoted would be an injection.
    if not isinstance(value, NginxText):
        raise TypeError(f"a template prints {type(value).__name__}, which is no NginxText")
    return value


_TEMPLATES = Environment(
    loader=PackageLoader("authd.nginx_files"),
    undefined=StrictUndefined,
    finalize=_refuse_unquoted,
    autoescape=False,  # noqa: S701 - nginx configuration, not HTML; finalize refuses what is not quoted for it
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
