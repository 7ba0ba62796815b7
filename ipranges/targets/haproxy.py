"""HAProxy's runtime socket: a new version of an ACL is filled beside the live one and committed."""

from __future__ import annotations

import re

from ipranges.errors import RefusedError
from ipranges.networks import NetworkSet, parse_network_set

_VERSION = re.compile(r"New version created: (\d+)")
# One line of the runtime socket is cut at its buffer (16 kB by default).
_COMMANDS_PER_LINE = 100


def parse_version(answer: str) -> str:
    """The version that `prepare acl` created; raises RefusedError where HAProxy said something else."""
    match = _VERSION.search(answer)
    if match is None:
        raise RefusedError(f"HAProxy answered {answer.strip()[:80]!a}")
    return match[1]


def render_additions(path: str, version: str, networks: NetworkSet) -> list[str]:
    """Lines of the runtime socket that fill a version, many commands a line."""
    commands = [f"add acl @{version} {path} {cidr}" for cidr in networks.all_cidrs]
    starts = range(0, len(commands), _COMMANDS_PER_LINE)
    return ["; ".join(commands[start : start + _COMMANDS_PER_LINE]) for start in starts]


def parse_acl(answer: str) -> NetworkSet:
    """What `show acl` printed: a pointer and the network on each line; raises RefusedError."""
    lines = [line.split() for line in answer.splitlines() if line.strip() and not line.startswith("#")]
    if any(len(line) != 2 for line in lines):
        raise RefusedError(f"HAProxy answered {answer.strip()[:80]!a}")
    return parse_network_set(line[1] for line in lines)
