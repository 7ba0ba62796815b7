"""What the nginx files depend on, taken from the configuration and quoted for nginx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from authd.nginx_files.directives import (
    NginxText,
    quote_application_id,
    quote_cookie_variable,
    quote_directory,
    quote_header_name,
    quote_header_variable,
    quote_host,
    quote_path_prefix,
    quote_regex,
    quote_secret,
    quote_token_issuer_regex,
    quote_upstream,
    quote_variable,
)

Scope = Literal["host", "path"]

DEFAULT_CACHE_DIRECTORY = "/var/cache/authd-nginx"
# Idle connections that nginx keeps to authd; the socket is named twice more (docs/adr/0031).
KEEPALIVE_CONNECTIONS = 62
# The only paths under the prefix; nginx answers any other with its own 404.
APPLICATION_ENDPOINTS = ("login", "authorized", "logout", "get-identity", "certs", "style.css")
TEAM_ENDPOINTS = (
    *("callback", "verify-code", "resend-code", "logout", "end-session", "backchannel-logout"),
    *("get-identity", "certs", "style.css"),
)
# Names that some application or framework believes: an identity that another proxy vouched for, another path than the
# one that was decided on (Symfony's CVE-2018-14773), another address. Nobody sets them here, so only visitors would.
FOREIGN_HEADERS = (
    *(f"X-Forwarded-{name}" for name in ("User", "Email", "Groups", "Access-Token", "Preferred-Username")),
    *(f"X-Auth-Request-{name}" for name in ("User", "Email", "Groups", "Access-Token", "Preferred-Username")),
    *(f"Remote-{name}" for name in ("User", "Groups", "Email", "Name")),
    *("X-Auth-User", "X-Remote-User", "X-WebAuth-User"),
    *("X-Original-URL", "X-Original-URI", "X-Rewrite-URL"),
    *(f"X-Forwarded-{name}" for name in ("Prefix", "Uri", "Path", "Port", "Server", "Scheme", "Ssl")),
    *("Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP"),
    # nginx' own, $request_id, is made of random bytes and costs 5 % of a cached page: for who adds the line (ADR 0122).
    "X-Request-Id",
)
_SCOPE_KEYS: dict[Scope, NginxText] = {"host": NginxText("$host"), "path": NginxText("$host$request_uri")}
_BEARER_HEADER = "authorization"
# nginx' default bucket of 64 bytes holds keys of 46; its default table is good for some 2,000 keys.
_LONGEST_DEFAULT_KEY = 40
_MOST_DEFAULT_KEYS = 1000


@dataclass(frozen=True, slots=True)
class NginxSettings:
    """Plain values; `quoted` proves them before a template sees them.

    `scopes` maps a host, or a wildcard over one label, to what its decisions hold for. `bound_cookies` maps
    the id of an application whose cookie has a name of its own to that name. `listen_secret` is empty on a unix
    socket. `token_issuers` are the ids of those whose bearers are kept from applications.
    """

    listen: str = "unix:/run/authd/authd.sock"
    listen_secret: str = ""
    path_prefix: str = "/cdn-cgi/access"
    cookie_name: str = "CF_AUTHORIZATION"
    scopes: tuple[tuple[str, Scope], ...] = ()
    bound_cookies: tuple[tuple[str, str], ...] = ()
    cache_directory: str = DEFAULT_CACHE_DIRECTORY
    has_decision_cache: bool = True
    credential_headers: tuple[tuple[str, str], ...] = ()
    token_issuers: tuple[str, ...] = ()
    country_header: str = ""
    edge_variable: str = "edge_ok"

    def quoted(self) -> dict[str, Any]:
        """What the templates print, all NginxText. Raises ConfigError."""
        path_prefix = quote_path_prefix(self.path_prefix)
        return {
            "upstream_address": quote_upstream(self.listen),
            "upstream_names": range(KEEPALIVE_CONNECTIONS + 2),
            "keepalive": NginxText(KEEPALIVE_CONNECTIONS),
            "listen_secret": quote_secret(self.listen_secret) if self.listen_secret else NginxText('""'),
            "path_prefix": path_prefix,
            "path_prefix_regex": quote_regex(path_prefix),
            "session_cookie": quote_cookie_variable(self.cookie_name),
            "scopes": [(quote_host(host), _SCOPE_KEYS[scope]) for host, scope in self.scopes],
            "bound_cookies": [
                (quote_application_id(application_id), quote_cookie_variable(name))
                for application_id, name in self.bound_cookies
            ],
            "country_header": quote_header_variable(self.country_header) if self.country_header else NginxText(""),
            "country_trust": quote_variable(self.edge_variable) if self.country_header else NginxText("$host"),
            "credential_headers": [
                (quote_application_id(application_id), quote_header_variable(name))
                for application_id, name in self.credential_headers
            ],
            "credential_variables": [
                (self._source_variable(name), _passed_variable(name)) for name in self._credential_names()
            ],
            "token_issuers": NginxText("|".join(map(quote_token_issuer_regex, self.token_issuers))),
            "passed_parameters": [(_parameter_of(name), _passed_variable(name)) for name in self._credential_names()],
            "passed_headers": [(quote_header_name(name), _passed_variable(name)) for name in self._credential_names()],
            "cache_directory": quote_directory(self.cache_directory),
            "decision_cache": NginxText("authd" if self.has_decision_cache else "off"),
            "application_endpoints": [NginxText(name) for name in APPLICATION_ENDPOINTS],
            "team_endpoints": [NginxText(name) for name in TEAM_ENDPOINTS],
            "foreign_headers": [NginxText(name) for name in FOREIGN_HEADERS],
            "foreign_parameters": [NginxText(f"HTTP_{name.upper().replace('-', '_')}") for name in FOREIGN_HEADERS],
            "large_maps": self._large_maps(),
        }

    def _credential_names(self) -> list[str]:
        """Each header once, however many applications read it."""
        bearer = {_BEARER_HEADER} if self.token_issuers else set()
        return sorted({name.lower() for _, name in self.credential_headers} | bearer)

    def _source_variable(self, name: str) -> NginxText:
        """The header, but for a bearer that authd has taken."""
        is_bearer = bool(self.token_issuers) and name == _BEARER_HEADER
        return NginxText("$authd_untaken_authorization") if is_bearer else quote_header_variable(name)

    def _large_maps(self) -> NginxText:
        """Hash sizes for http, only where nginx' defaults do not do: the operator may have set them too."""
        names = [key for key, _ in (*self.scopes, *self.bound_cookies)]
        longest = max(map(len, (*names, f"{self.path_prefix}/get-identity")))
        lines = ""
        if longest > _LONGEST_DEFAULT_KEY:
            lines += "map_hash_bucket_size 512;\n"
        if len(names) > _MOST_DEFAULT_KEYS:
            lines += f"map_hash_max_size {4 * len(names)};\n"
        return NginxText(lines)


def _parameter_of(name: str) -> NginxText:
    return NginxText(f"HTTP_{quote_header_name(name).upper().replace('-', '_')}")


def _passed_variable(name: str) -> NginxText:
    return NginxText(quote_header_variable(name).replace("$http_", "$authd_passed_"))
