"""Databases in MaxMind's format, made for a test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

DOCUMENTATION: Mapping[str, Any] = {
    "192.0.2.0/24": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
    "198.51.100.0/24": {"country": {"iso_code": "FR"}},
    "203.0.113.0/25": {"country": "ch"},
    "203.0.113.128/25": {"registered_country": {"iso_code": "GB"}},
    "2001:db8::/32": {"country": {"iso_code": "PL"}},
}


def write_countries(path: Path, records: Mapping[str, Any] = DOCUMENTATION) -> Path:
    """Write a database as an update does: beside the old one, and then in its place."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-Country")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    beside = path.with_suffix(".new")
    writer.to_db_file(str(beside))
    os.replace(beside, path)
    return path
