"""What a configuration makes possible that its operator may not have meant."""

from __future__ import annotations

from ipranges.config import Config, NginxTarget, UfwTarget
from ipranges.sources import CATALOG


def find_advice(config: Config) -> list[str]:
    """A sentence for each known trap that the configuration as a whole is close to. NOT checked: nginx's files."""
    kinds = {target.type for target in config.targets if isinstance(target, NginxTarget)}
    found = []
    if {"nginx-allow", "nginx-realip"} <= kinds:
        found.append(
            "nginx-allow and nginx-realip: in a server with both, every visitor who comes through the edge "
            "gets 403, since `allow` sees the visitor's address; use nginx-geo"
        )
    if "nginx-allow" in kinds:
        found.append("nginx-allow: in a location with auth_request under `satisfy any`, a match skips the login")
    for target in config.targets:
        providers = [name for name in target.sources if config.get_source(name).type in CATALOG]
        if isinstance(target, NginxTarget) and target.type == "nginx-realip" and len(providers) > 1:
            found.append(
                f"{target.label}: {' and '.join(providers)} share one header; a visitor through one of them can "
                "forge the other's. One list and one header a server, or X-Forwarded-For with real_ip_recursive"
            )
        if isinstance(target, UfwTarget):
            found.append(f"{target.label}: ufw does not see the ports that Docker publishes; nftables does")
    return found
