"""How the values inside rules and lists are read. Every reader raises SettingError."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from authd.config.emails import parse_email, parse_email_domain
from authd.config.mistakes import SettingError

Network = IPv4Network | IPv6Network


def parse_network(value: Any) -> Network:
    """`10.0.0.0/8`, `2001:db8::1`. An IPv4-mapped IPv6 network is the IPv4 one, as clients' addresses are."""
    text = require_text(value)
    try:
        if "%" in text:
            raise ValueError("a zone is no part of an address that comes over a network")
        network = ip_network(text, strict=True)
    except ValueError:
        raise SettingError(_explain_bad_network(value), allowed="10.0.0.0/8, 192.0.2.7 or 2001:db8::/32") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def require_text(value: Any) -> str:
    """Text that is not empty. A number has to be quoted: `007` is text to people and 7 to YAML."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, (int, float)):
        raise SettingError("must be text; write it in quotes")
    raise SettingError("must be text")


def _explain_bad_network(value: str) -> str:
    try:
        network = ip_network("" if "%" in value else value, strict=False)
    except ValueError:
        return "is not an IP address or network"
    return f"has bits set to the right of its prefix; did you mean {network}?"


def read_email(value: Any) -> str:
    """An address as `parse_email` returns it. Raises SettingError."""
    email = parse_email(require_text(value))
    if email is None:
        raise SettingError("is not an e-mail address", allowed="name@example.com")
    return email


def read_email_domain(value: Any) -> str:
    try:
        return parse_email_domain(require_text(value))
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(str(error), allowed="a domain such as example.com; subdomains are not meant") from None


def read_claim_value(value: Any) -> str | int | bool:
    if isinstance(value, (bool, int)):
        return value
    return require_text(value)


def read_client_id(value: Any) -> str:
    """A service token's id, as `authd service-tokens create` prints it."""
    text = require_text(value)
    if not re.fullmatch(r"[0-9a-f]{32}\.access", text):
        raise SettingError("is no service token's id", allowed="32 hexadecimal digits and .access, in lower case")
    return text


def read_github_name(value: Any) -> str:
    """An organisation's login or a team's slug, in lower case, as GitHub compares them."""
    text = require_text(value).lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9_-]{0,98}[a-z0-9])?", text):
        allowed = "the name in the address, such as `my-org`, and a team's slug"
        raise SettingError("is no login of an organisation and no slug of a team", allowed=allowed)
    return text


def read_evaluator(value: Any) -> str:
    """An address that is asked: https, or http on a loopback address; no name and password in it, no fragment."""
    text = require_text(value)
    parts = urlsplit(text) if text.isascii() and text.isprintable() and " " not in text else None
    is_plain = parts is not None and parts.hostname and parts.username is None and not parts.fragment
    if (
        parts is None
        or not is_plain
        or not (parts.scheme == "https" or _is_plain_loopback(parts.scheme, parts.hostname))
    ):
        raise SettingError("is no address that could be asked", allowed="https://..., or http on a loopback address")
    return text


def _is_plain_loopback(scheme: str, host: str | None) -> bool:
    try:
        return scheme == "http" and ip_address(host or "").is_loopback
    except ValueError:
        return False
