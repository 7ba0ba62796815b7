"""Values that may stand in nginx configuration, each proved harmless before it is pasted.

nginx knows no escape for `$`, and reads `;`, `{`, `#` and line feeds anywhere outside quotes: a host name
that carried them would become directives of its own (ingress-nginx' CVE-2025-24514). So nothing is escaped
here that a narrow alphabet can refuse, and the templates print `NginxText` alone.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from authd.errors import ConfigError, ConfigMistake

# Words that a map block would take for parameters of its own; nginx wants a backslash before them.
_MAP_PARAMETERS = frozenset({"default", "hostnames", "include", "volatile"})


class NginxText(str):
    """Text that is safe to paste into nginx configuration. Made by the functions of this module only."""

    __slots__ = ()


def quote_host(host: str) -> NginxText:
    """A host name, or a wildcard over its first label, as the key of a map with `hostnames`."""
    pattern = r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?"
    return _map_key(_checked(host, pattern, "applications.domains", "lower-case host names and *.name"))


def quote_application_id(application_id: str) -> NginxText:
    pattern = r"[A-Za-z0-9][A-Za-z0-9._-]*"
    return _map_key(_checked(application_id, pattern, "applications.id", "letters, digits, '.', '_' and '-'"))


def quote_cookie_variable(cookie_name: str) -> NginxText:
    """nginx' variable for a cookie. nginx reads cookie names without regard to case."""
    name = _checked(cookie_name, r"[A-Za-z0-9_]+", "cookie_name", "letters, digits and '_'")
    return NginxText(f"$cookie_{name.lower()}")


def quote_header_variable(name: str) -> NginxText:
    """nginx' variable for a header of the request."""
    checked = _checked(name, r"[A-Za-z0-9-]+", "country_header", "letters, digits and '-'")
    return NginxText(f"$http_{checked.lower().replace('-', '_')}")


def quote_header_name(name: str) -> NginxText:
    return NginxText(_checked(name, r"[A-Za-z0-9-]+", "read_service_tokens_from_header", "letters, digits and '-'"))


def quote_variable(name: str) -> NginxText:
    return NginxText("$" + _checked(name, r"[a-z][a-z0-9_]*", "edge_variable", "lower-case letters, digits and '_'"))


def quote_path_prefix(path_prefix: str) -> NginxText:
    pattern = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+"
    return NginxText(_checked(path_prefix, pattern, "path_prefix", "path segments that begin with no dot"))


def quote_regex(text: NginxText) -> NginxText:
    """The same text as a literal within a double-quoted regular expression."""
    return NginxText(text.replace(".", r"\."))


def quote_token_issuer_regex(token_issuer_id: str) -> NginxText:
    pattern = r"[A-Za-z0-9][A-Za-z0-9._-]*"
    return quote_regex(
        NginxText(_checked(token_issuer_id, pattern, "token_issuers.id", "letters, digits, '.', '_', '-'"))
    )


def quote_directory(path: str) -> NginxText:
    return NginxText(_checked(path, r"(/[A-Za-z0-9._-]+)+", "cache directory", "an absolute path"))


def quote_upstream(listen: str) -> NginxText:
    """The address of an upstream server, from the setting `listen`."""
    if listen.startswith("unix:"):
        allowed = "unix: and an absolute path of letters, digits, '.', '_' and '-'"
        return NginxText(_checked(listen, r"unix:(/[A-Za-z0-9._-]+)+", "listen", allowed))
    host, _, port = listen.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise _refusal("listen", listen, "unix:/path, or an IP address and a port") from None
    digits = _checked(port, r"[1-9][0-9]{0,4}", "listen", "unix:/path, or an IP address and a port")
    return NginxText(f"[{address}]:{digits}" if address.version == 6 else f"{address}:{digits}")


def quote_secret(secret: str) -> NginxText:
    """A secret for a header. An error does not repeat it.

    No `$`, which nginx cannot quote, and no space, which HTTP would trim.
    """
    if not re.fullmatch(r"[A-Za-z0-9+/=._~-]{32,512}", secret):
        allowed = "one line of 32 to 512 letters, digits and +/=._~- (for example: openssl rand -base64 33)"
        raise _refusal("listen_secret_file", "", allowed)
    return NginxText(f'"{secret}"')


def _map_key(text: str) -> NginxText:
    return NginxText(f"\\{text}" if text in _MAP_PARAMETERS else text)


def _checked(value: str, pattern: str, key: str, allowed: str) -> str:
    # fullmatch with \Z: "$" would accept a line feed at the end.
    if not re.fullmatch(pattern, value):
        raise _refusal(key, value, allowed)
    return value


def _refusal(key: str, value: str, allowed: str) -> ConfigError:
    mistake = ConfigMistake(0, key, "cannot stand in nginx configuration", repr(value) if value else "", allowed)
    return ConfigError("nginx render", (mistake,))
