"""Issuers that stand for several tenants (Microsoft Entra ID: `organizations` and `common`).

Their discovery document names a template, https://login.microsoftonline.com/{tenantid}/v2.0, and a token the issuer of
its own tenant (learn.microsoft.com: Access tokens in the Microsoft identity platform, "Validate the issuer"). Taking
the template for "any" would admit every tenant of the world: only those that the configuration names are believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PLACEHOLDER = "{tenantid}"


@dataclass(frozen=True, slots=True)
class Issuers:
    """Whose tokens one provider's are: without `tenants` those of `configured`, to the letter."""

    configured: str
    tenants: frozenset[str] = frozenset()

    @property
    def published(self) -> str:
        """What the discovery document must name."""
        if not self.tenants:
            return self.configured
        host, _, version = self.configured.rsplit("/", 2)
        return f"{host}/{_PLACEHOLDER}/{version}"

    @property
    def believed(self) -> frozenset[str]:
        """Every issuer that a token may name."""
        if not self.tenants:
            return frozenset({self.configured})
        return frozenset(self.published.replace(_PLACEHOLDER, tenant) for tenant in self.tenants)

    def find(self, claims: Mapping[str, Any]) -> str | None:
        """The issuer that a token with these claims must name: that of its own tenant (`tid`). None for any other's.

        Not checked: that it does name it (`iss`).
        """
        if not self.tenants:
            return self.configured
        tenant = claims.get("tid")
        is_allowed = isinstance(tenant, str) and tenant in self.tenants
        return self.published.replace(_PLACEHOLDER, str(tenant)) if is_allowed else None
