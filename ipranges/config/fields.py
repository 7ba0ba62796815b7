"""Kinds of values that several parts of the configuration share."""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ipranges.errors import MalformedNetworkError
from ipranges.networks import BITS, parse_network


class Model(BaseModel):
    """Base of all parts: frozen, and a key that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _verify_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", value):
        raise ValueError("must be lower-case letters, digits, - or _, at most 40")
    return value


def _verify_absolute_path(value: str) -> str:
    # The path is printed into messages and, for some programs, into a test configuration.
    if not re.fullmatch(r"/[A-Za-z0-9._/@+-]+", value) or "/../" in f"{value}/":
        raise ValueError("must be an absolute path of letters, digits and . _ - + @ /")
    return value


def is_loopback_host(host: str) -> bool:
    """Whether a URL's host is this machine. A name other than localhost is not resolved, hence not."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _verify_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or a password: it would stand in logs")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("must be a URL that begins with https://")
    if parts.scheme == "http" and not is_loopback_host(parts.hostname):
        raise ValueError("must begin with https://; http is for loopback addresses only")
    return value


def _verify_network(value: str) -> str:
    try:
        family, (first, last) = parse_network(value)
    except MalformedNetworkError as error:
        raise ValueError(str(error)) from None
    if (last - first + 1) >> (BITS[family] - (8 if family == "v4" else 20)) > 1:
        raise ValueError(f"is wider than {'/8' if family == 'v4' else '/20'}: it would let the world in")
    return value


def _verify_public_key(value: str) -> str:
    try:
        key = base64.b64decode(value, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError("must be an Ed25519 public key: 32 bytes in base64")
    return value


Name = Annotated[str, AfterValidator(_verify_name)]
AbsolutePath = Annotated[str, AfterValidator(_verify_absolute_path)]
Url = Annotated[str, AfterValidator(_verify_url)]
Network = Annotated[str, AfterValidator(_verify_network)]
PublicKey = Annotated[str, AfterValidator(_verify_public_key)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Command = tuple[Annotated[str, Field(min_length=1)], ...]
Count = Annotated[int, Field(strict=True, ge=1)]
