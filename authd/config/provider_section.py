"""What the sections of all identity providers have in common. The kinds are in `identity_providers.py`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from authd.config import settings as kind
from authd.config.sections import Section


class ProviderSection(Section):
    """One identity provider. Each kind narrows `type` to its own word."""

    id: kind.Identifier = Field(description="Stable name; rules and sessions refer to it.")
    type: str
    name: kind.Label = Field(default="", description="What the chooser page shows; the id if left out.")

    @property
    def display_name(self) -> str:
        return self.name or self.id

    @property
    def kept_claims(self) -> tuple[str, ...]:
        """The claims that stay with an identity; rules on any other would never match."""
        return ()

    @property
    def groups_claim_name(self) -> str | None:
        """The claim of the groups, None where the kind has none."""
        return None

    @property
    def tenants(self) -> tuple[str, ...]:
        """The only tenants whose people may come; none where the provider has no tenants, or one."""
        return ()

    @property
    def refresh_interval(self) -> int | None:
        """Seconds after which the provider is asked again, 0 for never; None for what the organisation says."""
        return None

    @property
    def secret_file(self) -> Path | None:
        """The file of the one secret that goes with a provider."""
        return None

    @property
    def secret_env(self) -> str | None:
        """The environment variable with that secret, instead of the file."""
        return None
