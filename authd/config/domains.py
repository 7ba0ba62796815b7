"""The addresses that an application covers: `host[:port][/path]`, with wildcards.

Source: Cloudflare, "Application paths" (cloudflare-one/access-controls/policies/app-paths). What it
leaves open is decided in docs/adr/0010.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from authd.config.hosts import parse_host

_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_WILDCARD_LABEL = re.compile(r"[a-z0-9_-]*\*[a-z0-9_-]*")
# What nginx hands over is decoded: every printable character may stand in a path as itself.
_PATH_FORBIDDEN = re.compile(r"[\x00-\x20\x7f?#\\%;]")
MAX_PATH_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class DomainPattern:
    """Hosts and paths in one spelling. `host` and `path` may hold `*`; `path` is "" for the whole host.

    `path` begins with `/`, has no final slash, and is compared with nginx' decoded path, case
    sensitively. `port` is None where none was given; it is no part of the match.
    """

    host: str
    port: int | None
    path: str

    @property
    def is_whole_host(self) -> bool:
        return self.path == ""

    @property
    def is_wildcard_host(self) -> bool:
        return "*" in self.host

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.host}{port}{self.path}"


def parse_domain(text: str) -> DomainPattern:
    """`*.example.com/alpha/*` to its parts. Raises ValueError with the sentence for the operator."""
    if "://" in text:
        raise ValueError("must not carry a scheme; write host or host/path")
    if "?" in text or "#" in text:
        raise ValueError("must not carry a query or a fragment; an application is a host and a path")
    authority, slash, path = text.partition("/")
    host, colon, port = authority.partition(":")
    return DomainPattern(
        host=_parse_host_pattern(host),
        port=parse_port(port) if colon else None,
        path=_parse_path_pattern(slash + path),
    )


def parse_port(text: str) -> int:
    """Raises ValueError for anything but 1 to 65535."""
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError("has a port that is not a number from 1 to 65535")
    return int(text)


def parse_host_and_port(text: str) -> tuple[str, int | None]:
    """`auth.example.com:8443` to its parts. Raises ValueError."""
    host, colon, port = text.partition(":")
    return parse_host(host), parse_port(port) if colon else None


def _parse_host_pattern(text: str) -> str:
    if "*" not in text:
        return parse_host(text)
    labels = text.split(".")
    if "*" in labels[-1]:
        raise ValueError("must end in a name without *, such as *.example.com")
    return ".".join(_parse_label_pattern(label) for label in labels)


def _parse_label_pattern(label: str) -> str:
    if "*" not in label:
        return parse_host(label)
    if label.count("*") > 1:
        raise ValueError("may hold at most one * between two dots")
    lowered = label.lower() if label.isascii() else label
    if not _WILDCARD_LABEL.fullmatch(lowered) or len(label) > 63:
        raise ValueError("is not a host name")
    return lowered


def _parse_path_pattern(path: str) -> str:
    if len(path) > MAX_PATH_CHARACTERS:
        raise ValueError(f"has a path of more than {MAX_PATH_CHARACTERS} characters")
    if _PATH_FORBIDDEN.search(path):
        raise ValueError("has a path with a character that no path here may hold (space, %, ;, \\ or control)")
    # `example.com/*` is `example.com`, says the documentation; `/alpha/` is `/alpha`, say we.
    path = path.removesuffix("/")
    path = "" if path == "/*" else path
    segments = path.split("/")[1:]
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError("has a path with an empty or dot segment, which nginx removes before it asks")
    if any(segment.count("*") > 1 for segment in segments):
        raise ValueError("may hold at most one * between two slashes")
    return path
