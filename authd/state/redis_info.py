"""What a server says about itself (`INFO`), and whether authd can keep people's sessions there."""

from __future__ import annotations

import re
from typing import Any

MIN_VERSION = (6, 2)


def parse_info(reply: Any) -> dict[str, str]:
    """The lines `name:value`; anything else is left out."""
    lines = bytes(reply).decode(errors="replace").splitlines() if isinstance(reply, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def find_problem(info: dict[str, str]) -> str | None:
    """Why authd must not start on this server, or None."""
    version = tuple(int(number) for number in re.findall("[0-9]+", info.get("redis_version", ""))[:2])
    if version < MIN_VERSION:
        shown = info.get("redis_version", "of an unknown version")
        return f"Redis {shown} is too old; authd needs {'.'.join(map(str, MIN_VERSION))} or newer, or any Valkey"
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        return f"maxmemory-policy is {policy}, so sessions and revocations could vanish; set it to noeviction"
    return None


def find_warnings(info: dict[str, str]) -> list[str]:
    """What the operator should know: authd starts nevertheless."""
    if info.get("aof_enabled") != "1":
        return ["appendonly is off: a restart of Redis loses the newest sessions and revocations; set it to yes"]
    return []
