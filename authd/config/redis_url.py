"""The addresses of Redis that the setting `state` takes. Valkey speaks the same protocol and has the same addresses.

    redis://[user[:password]@]host[:6379][/database][?...]
    redis+sentinel://[user[:password]@]host[:26379],host,host/name-of-the-master[/database][?...]
    redis+cluster://[user[:password]@]host[:6379],host,host[?...]

With `rediss` instead of `redis` every connection is TLS. User and password are those of the servers with the data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote

from authd.config.mistakes import SettingError

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
ALLOWED = "redis://host:6379/0, redis+sentinel://host,host,host/name-of-the-master or redis+cluster://host,host,host"
MAX_REPLICAS = 5
_URL = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<user_info>[^/?#]*)@)?(?P<hosts>[^/?#@]+)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>[0-9]{1,5}))?")
_SERVICE = re.compile(r"[A-Za-z0-9._-]{1,100}")
_FILES = ("password_file", "sentinel_password_file", "ca_file", "cert_file", "key_file")
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}

Kind = Literal["single", "sentinel", "cluster"]


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A parsed address. `service` is Sentinel's name of the master, empty for the other kinds.

    `replicas` is how many replicas must have acknowledged a write before it counts as done.
    """

    kind: Kind
    is_tls: bool
    addresses: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None = field(repr=False)
    replicas: int
    sentinel_username: str | None
    files: dict[str, Path]

    @property
    def shown(self) -> str:
        """For logs and errors: without user, password and parameters."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses)
        scheme = ("rediss" if self.is_tls else "redis") + ("" if self.kind == "single" else f"+{self.kind}")
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "")


def parse_redis_url(text: str) -> RedisUrl:
    """Raises SettingError, which never shows a password. Not checked: that the files exist and anybody answers."""
    scheme = text.partition(":")[0]
    match = _URL.fullmatch(text)
    if match is None or scheme not in SCHEMES:
        message = "is no address of Redis; write special characters of a password as %XX"
        raise SettingError(message, allowed=ALLOWED, value=f"{scheme}:...")
    base, _, suffix = scheme.partition("+")
    kind: Kind = "sentinel" if suffix == "sentinel" else "cluster" if suffix == "cluster" else "single"
    username, colon, password = (match["user_info"] or "").partition(":")
    service, database = _parse_path(kind, match["path"] or "", scheme)
    parameters = _parse_query(kind, match["query"] or "", is_tls=base == "rediss")
    if colon and "password_file" in parameters:
        raise _mistake("has a password and a password_file; leave one out", scheme)
    return RedisUrl(
        kind=kind,
        is_tls=base == "rediss",
        addresses=_parse_hosts(kind, match["hosts"], scheme),
        service=service,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) if colon else None,
        replicas=int(parameters.get("replicas", "0" if kind == "single" else "1")),
        sentinel_username=parameters.get("sentinel_username"),
        files={name: Path(parameters[name]) for name in _FILES if name in parameters},
    )


def _parse_hosts(kind: Kind, text: str, scheme: str) -> tuple[tuple[str, int], ...]:
    addresses = []
    for part in text.split(","):
        match = _HOST.fullmatch(part)
        port = int(match["port"] or _PORTS[kind]) if match else 0
        if match is None or not 0 < port < 65536:
            raise _mistake("has a host that is none", scheme)
        addresses.append((match["v6"] or match["name"], port))
    if kind == "single" and len(addresses) > 1:
        raise _mistake("has several hosts, which Sentinel (redis+sentinel) or Cluster (redis+cluster) have", scheme)
    return tuple(addresses)


def _parse_path(kind: Kind, path: str, scheme: str) -> tuple[str, int]:
    parts = [part for part in path.split("/") if part]
    service = ""
    if kind == "sentinel":
        if not parts or not _SERVICE.fullmatch(parts[0]):
            raise _mistake("lacks the name by which Sentinel knows the master", scheme)
        service = parts.pop(0)
    if not parts:
        return service, 0
    if kind == "cluster" or len(parts) > 1 or not re.fullmatch("[0-9]{1,4}", parts[0]):
        raise _mistake("has a path that is no number of a database (a Cluster has only one)", scheme)
    return service, int(parts[0])


def _parse_query(kind: Kind, query: str, *, is_tls: bool) -> dict[str, str]:
    known = {"password_file", "replicas"}
    known |= {"ca_file", "cert_file", "key_file"} if is_tls else set()
    known |= {"sentinel_username", "sentinel_password_file"} if kind == "sentinel" else set()
    pairs = parse_qsl(query, keep_blank_values=True)
    parameters = dict(pairs)
    wrong = sorted(set(parameters) - known) or [name for name, _ in pairs if pairs.count((name, parameters[name])) > 1]
    if wrong or len(parameters) < len(pairs):
        # Only the name is shown: what stands behind it may be a password.
        shown = wrong[0][:40] if wrong else "one"
        raise SettingError(f"has a parameter it cannot have: {shown}", allowed=", ".join(sorted(known)), value="")
    if not re.fullmatch(f"[0-{MAX_REPLICAS}]", parameters.get("replicas", "0")):
        raise SettingError("has a wrong replicas", allowed=f"0 to {MAX_REPLICAS}", value="")
    for name in _FILES:
        if not parameters.get(name, "/").startswith("/"):
            raise SettingError(f"has a {name} that is no whole path", allowed="/etc/authd/...", value="")
    if ("cert_file" in parameters) != ("key_file" in parameters):
        raise SettingError("has a cert_file without key_file, or the other way round", value="")
    return parameters


def _mistake(message: str, scheme: str) -> SettingError:
    return SettingError(message, allowed=ALLOWED, value=f"{scheme}:...")
