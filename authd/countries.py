"""Which country an address is in: one file in MaxMind's format, as GeoLite2, DB-IP and IPinfo are published.

The file is copied into memory of our own when it is opened: whoever replaces it in place would else pull the mapping
from under a worker, which the kernel ends for it (SIGBUS). What the file says is a guess about addresses, and changes
with each edition; what it does not know is "", never a country.
"""

from __future__ import annotations

import os
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import maxminddb

Address = IPv4Address | IPv6Address

MAX_DATABASE_BYTES = 1024 * 1024 * 1024
MAX_REMEMBERED = 8192
TOR = "T1"
"""Cloudflare's code for a visitor who comes through Tor: known, but from no country."""


class Countries:
    """One edition of a database, for one process. Raises ValueError, in words for the operator, if it is of no use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._edition = _sign(path)
        self._reader = _open(path)
        # People come back: a look-up costs microseconds, and rules on countries are asked on every request.
        self.find = lru_cache(MAX_REMEMBERED)(self._find)

    def is_of(self, path: Path | None) -> bool:
        """Whether this is still the very file under that path. One that cannot be looked at just now counts as it."""
        if path != self._path:
            return False
        try:
            return _sign(path) == self._edition
        except ValueError:
            return True

    def _find(self, address: Address) -> str:
        """ISO 3166-1 code in upper case, "" if the database does not say."""
        record: Any = self._reader.get(address)
        country = record.get("country") if isinstance(record, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else country
        return parse_country(code if isinstance(code, str) else "")


def parse_country(unverified_text: str) -> str:
    """A country's code as a database or an edge writes it; "" for what names no country, such as Cloudflare's XX."""
    code = unverified_text.upper()
    if code == TOR:
        return code
    return code if len(code) == 2 and code.isascii() and code.isalpha() and code != "XX" else ""


def _sign(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _open(path: Path) -> maxminddb.Reader:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_DATABASE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_DATABASE_BYTES:
        raise ValueError(f"is larger than {MAX_DATABASE_BYTES // 1024 // 1024} MiB")
    descriptor = os.memfd_create("authd-countries")
    try:
        os.truncate(descriptor, len(content))
        os.pwrite(descriptor, content, 0)
        reader = maxminddb.open_database(f"/proc/self/fd/{descriptor}")
        # One that cannot answer is found out now, and not by the first visitor.
        reader.get("192.0.2.1")
    except (maxminddb.InvalidDatabaseError, OSError, ValueError):
        raise ValueError("is no database in MaxMind's format (.mmdb), or a damaged one") from None
    finally:
        os.close(descriptor)
    return reader
