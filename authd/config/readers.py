"""How the value of each kind of setting is read: its check, and its words for a mistake.

Every reader takes what YAML held and returns the setting's value, or raises SettingError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import getaddresses
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationInfo

from authd.client_certificates import parse_name
from authd.config import durations
from authd.config.authorities import Authorities, load_authorities
from authd.config.domains import DomainPattern, parse_domain, parse_host_and_port
from authd.config.emails import parse_email
from authd.config.fields import require_text
from authd.config.hosts import parse_host
from authd.config.mistakes import SettingError
from authd.config.redis_url import ALLOWED, SCHEMES, parse_redis_url
from authd.config.rules import Rule
from authd.countries import Countries

BASE_DIR = "base_dir"
"""The key of the validation context that holds the directory of the configuration file."""

MAX_SOCKET_PATH_BYTES = 107
"""unix(7): 108 with the final NUL."""

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")

# Names that authd itself uses: an application's token under one of them would be mistaken for it.
_RESERVED_COOKIES = frozenset(("cf_appsession", "__host-cf_appsession", "__host-authd_team"))


def _read_matching(pattern: str, message: str, allowed: str) -> Callable[[Any], str]:
    compiled = re.compile(pattern, re.ASCII)

    def read(value: Any) -> str:
        text = require_text(value)
        if not compiled.fullmatch(text):
            raise SettingError(message, allowed=allowed)
        return text

    return read


def read_duration(minimum: int, maximum: int) -> Callable[[Any], int]:
    limits = f"{durations.render_duration(minimum)} to {durations.render_duration(maximum)}"

    def read(value: Any) -> int:
        try:
            seconds = durations.parse_duration_seconds(require_text(value))
        except SettingError as mistake:
            raise SettingError(mistake.message, allowed=durations.ALLOWED) from None
        except ValueError as error:
            raise SettingError(str(error), allowed=durations.ALLOWED) from None
        if not minimum <= seconds <= maximum:
            raise SettingError("is out of range", allowed=limits)
        return seconds

    return read


_read_interval = read_duration(60, 31 * 86400)


def read_refresh_interval(value: Any) -> int:
    """Seconds; 0 for never."""
    return 0 if value == "0s" else _read_interval(value)


# What the flow itself is made of: another value of one of these would be another login.
_OWN_PARAMETERS = frozenset(
    (
        *("client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method", "request", "request_uri", "claims", "id_token_hint"),
    )
)


def read_authorization_parameters(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise SettingError("must be a mapping", allowed="{hd: example.com}")
    for name, text in value.items():
        if name in _OWN_PARAMETERS or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", name):
            raise SettingError(
                "is a parameter that authd sets itself, or none", value=name, allowed="hd, access_type, ..."
            )
        require_text(text)
    return dict(value)


def read_link(value: Any) -> str:
    """An https address, whole, as it may stand in a link of ours."""
    text = require_text(value)
    parts = urlsplit(text) if text.isascii() and text.isprintable() else None
    if parts is None or parts.scheme != "https" or not parts.hostname or parts.username is not None or " " in text:
        raise SettingError("is no https address", allowed="https://www.example.com/goodbye")
    return text


def read_label(value: Any) -> str:
    text = require_text(value)
    if len(text) > 128 or not text.isprintable() or text != text.strip():
        raise SettingError("is not a name", allowed="up to 128 printable characters, no space at the ends")
    return text


def read_file(value: Any, info: ValidationInfo) -> Path:
    text = require_text(value)
    if "\0" in text:
        raise SettingError("is not a path")
    base_dir: Path = (info.context or {}).get(BASE_DIR, Path())
    return base_dir / text


def read_geo_database(value: Any, info: ValidationInfo) -> Path:
    """A database that can be read and asked now: a file that is missing or damaged is a mistake of the file."""
    path = read_file(value, info)
    try:
        Countries(path)
    except ValueError as error:
        raise SettingError(str(error)) from None
    return path


def read_distinguished_name(value: Any) -> str:
    try:
        return parse_name(require_text(value).removeprefix("issuer=").strip())
    except SettingError:
        raise
    except ValueError:
        raise SettingError("is no distinguished name", allowed="CN=Device CA,O=Example (RFC 2253)") from None


def read_domain(value: Any) -> DomainPattern:
    try:
        return parse_domain(require_text(value))
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(str(error), allowed="host or host/path, * for one label or part of a path") from None


def read_team_domain(value: Any) -> str:
    try:
        host, port = parse_host_and_port(require_text(value))
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(str(error), allowed="host or host:port, without a scheme") from None
    return host if port in (None, 443) else f"{host}:{port}"


def read_listen(value: Any) -> str:
    text = require_text(value)
    if text.startswith("unix:/"):
        if len(text.removeprefix("unix:").encode()) > MAX_SOCKET_PATH_BYTES:
            raise SettingError(f"is longer than {MAX_SOCKET_PATH_BYTES} bytes, the most that Linux takes")
        return text
    host, _, port = text.rpartition(":")
    allowed = "unix:/run/authd/authd.sock, or an address and a port such as 127.0.0.1:8300"
    try:
        is_loopback = ip_address(host.strip("[]")).is_loopback
    except ValueError:
        raise SettingError("is no place to listen on", allowed=allowed) from None
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise SettingError("has no valid port", allowed=allowed)
    # Whoever reaches the listener can claim any client address (design 2): never on the network.
    if not is_loopback:
        raise SettingError("must be a loopback address", allowed=allowed)
    return text


def read_state(value: Any) -> str:
    text = require_text(value)
    scheme = text.partition(":")[0]
    if scheme in SCHEMES:
        parse_redis_url(text)
    elif not text.startswith("sqlite:/"):
        allowed = f"sqlite:/path, {ALLOWED}"
        raise SettingError("is not a store", allowed=allowed, value=f"{scheme}:..." if ":" in text else None)
    return text


def read_issuer(value: Any) -> str:
    text = require_text(value)
    allowed = "https://host[/path]; http only for a loopback address such as http://127.0.0.1:9000"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingError("is not a URL", allowed=allowed) from None
    if not host or not text.isascii() or not text.isprintable() or " " in text:
        raise SettingError("is not a URL", allowed=allowed)
    if parts.query or parts.fragment or "?" in text or "#" in text or "@" in parts.netloc:
        raise SettingError("must not carry a query, a fragment or a user", allowed=allowed, value=host)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise SettingError("must be https", allowed=allowed)
    return text


# Tenant ids and group ids of Entra ID.
read_guid = _read_matching(
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "is no id of Entra ID",
    "36 characters in lower case, such as 8a7d0f5e-1111-4222-8333-444455556666",
)
# Where everybody with a private Microsoft account is.
_PERSONAL_ACCOUNTS = "9188040d-6c67-4c5b-b112-36a304b66dad"


def read_tenant(value: Any) -> str:
    tenant = read_guid(value)
    if tenant == _PERSONAL_ACCOUNTS:
        raise SettingError("is the tenant of all personal accounts, which anybody can have", allowed="your tenant's id")
    return tenant


def require_different(entries: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(entries)) < len(entries):
        raise SettingError("names something twice")
    return entries


def read_team_issuer(value: Any) -> str:
    """The issuer of an Access edge as its tokens name it: an origin, without the slash that people add."""
    text = read_issuer(value)
    parts = urlsplit(text)
    if parts.path or parts.port == 443 or text != text.lower():
        allowed = "https://myteam.cloudflareaccess.com or https://auth.example.com:8443"
        raise SettingError("must be the host alone, in lower case, as the tokens name it", allowed=allowed)
    return text


def read_authorities(value: Any, info: ValidationInfo) -> Authorities:
    try:
        return load_authorities(read_file(value, info))
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(str(error), allowed="a file of certificates in PEM") from None


def is_loopback(host: str) -> bool:
    """Whether this is an address (not a name) of this very machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_mail_server(value: Any) -> str:
    text = require_text(value)
    try:
        parse_host_and_port(text)
    except ValueError as error:
        raise SettingError(str(error), allowed="host or host:port, without a scheme") from None
    return text


def read_sender(value: Any) -> str:
    """`Name <address>` or an address alone: what stands in the From of every mail. The address is ASCII."""
    text = require_text(value)
    found = getaddresses([text]) if text.isprintable() else []
    address = found[0][1] if len(found) == 1 else ""
    if not address.isascii() or parse_email(address) is None:
        raise SettingError("is not a sender", allowed="login@example.com or Example login <login@example.com>")
    return text


def read_origin(value: Any) -> str:
    """An origin as browsers send it (RFC 6454): no path, no default port, lower case."""
    text = require_text(value)
    scheme, _, authority = text.partition("://")
    host, colon, port = authority.partition(":")
    try:
        good = scheme in ("https", "http") and parse_host(host) == host
        good = good and (not colon or (port.isdecimal() and port.isascii() and 0 < int(port) < 65536))
    except ValueError:
        good = False
    if not good or (scheme, port) in (("https", "443"), ("http", "80")):
        raise SettingError("is not an origin", allowed="https://host or https://host:port, in lower case")
    return text


def read_cookie_name(value: Any) -> str:
    text = _read_cookie_word(value)
    if text.lower() in _RESERVED_COOKIES:
        raise SettingError("is a name that authd uses for another cookie")
    if "-" in text:
        # nginx' variable for a cookie, which the cache key needs, takes no hyphen.
        raise SettingError("has a hyphen, for which nginx has no variable", allowed="letters, digits and _")
    return text


def read_workers(value: Any) -> int | str:
    if value == "auto" or (type(value) is int and 1 <= value <= 256):
        return value  # type: ignore[no-any-return]
    raise SettingError("is not a number of workers", allowed="1 to 256, or auto")


def read_whole_number(minimum: int, maximum: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            raise SettingError("is not a whole number in range", allowed=f"{minimum} to {maximum}")
        return value

    return read


def read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingError("must be true or false", allowed="true, false")
    return value


def require_rules(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if not rules:
        raise SettingError("needs at least one rule", allowed="rules; everyone: true means everybody")
    return rules


def require_domains(domains: tuple[DomainPattern, ...]) -> tuple[DomainPattern, ...]:
    if not domains:
        raise SettingError("needs at least one domain", allowed="host or host/path")
    return domains


def read_algorithm(value: Any) -> str:
    """Asymmetric ones alone: with another, whoever can verify could sign (J30)."""
    if value not in ALGORITHMS:
        raise SettingError("is not an algorithm that may sign tokens", allowed=", ".join(ALGORITHMS))
    return str(value)


def require_entries(entries: tuple[str, ...]) -> tuple[str, ...]:
    if not entries:
        raise SettingError("needs at least one entry")
    return entries


def require_openid(scopes: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in scopes:
        raise SettingError("must hold openid, without which a provider sends no ID token")
    return scopes


_read_cookie_word = _read_matching(
    "[A-Za-z_][A-Za-z0-9_-]{0,63}", "is not a cookie name", "letters, digits, - and _, up to 64"
)
read_identifier = _read_matching(
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "is not an identifier", "letters, digits, ., - and _, up to 64"
)
read_aud = _read_matching("[0-9a-f]{64}", "is not an AUD tag", "64 hexadecimal digits in lower case")
read_path_prefix = _read_matching(
    "(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+",
    "is not a path prefix",
    "/cdn-cgi/access or the like, no final slash",
)
read_environment_name = _read_matching(
    "[A-Za-z_][A-Za-z0-9_]*", "is not the name of an environment variable", "letters, digits and _"
)
read_nginx_variable = _read_matching(
    "[a-z][a-z0-9_]{0,63}", "is not the name of a variable of nginx", "such as edge_ok, without the $"
)
read_method = _read_matching("[A-Z]{1,32}", "is not a method", "GET, POST and so on, in upper case")
read_header_name = _read_matching("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", "is not a header name", "such as Content-Type")
_read_credential_header = _read_matching("[A-Za-z][A-Za-z0-9-]{0,63}", "is not a header name", "such as Authorization")


def read_credential_header(value: Any) -> str:
    name = _read_credential_header(value)
    if name.lower() in ("host", "cookie", "connection", "content-length", "transfer-encoding", "upgrade"):
        raise SettingError("is a header that carries something else", allowed="such as Authorization")
    return name
