"""What is in force now, and what a reload replaces: the configuration, its index, and what was made from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from authd.config import Config
from authd.countries import Countries
from authd.model import Facts, Identity, LogoutToken, Vouched
from authd.policy.index import PolicyIndex

# As long as a provider that did not answer is left alone, too.
ASK_AGAIN_SECONDS = 60


class Provider(Protocol):
    """An identity provider, as the login needs it (idp/ has one module a kind). Both raise ProviderError."""

    async def begin(self, *, state: str, nonce: str, code_verifier: str, prompt: str | None) -> str:
        """The address at the provider where the browser logs in."""

    async def finish(self, unverified_query: str, *, nonce: str, code_verifier: str) -> Vouched:
        """Who the provider says this is, from the query of its callback."""

    async def refresh(self, identity: Identity, refresh_token: str) -> Vouched:
        """Who the provider says this is by now. ProviderRefusedError with a cause of `identity_refresh`'s list: it does
        not know the person any more."""

    async def logout_url(self, id_token: str | None, *, return_url: str) -> str | None:
        """Where the browser logs out of the provider, and comes back from; None if that is not possible."""

    async def read_logout_token(self, unverified_text: str) -> LogoutToken | None:
        """Whom the provider has logged out; None if this is no logout token of this provider."""

    def close(self) -> None:
        """Let go of threads and connections."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What a reload replaces: the configuration, its index, and the identity providers by id."""

    config: Config
    index: PolicyIndex
    providers: Mapping[str, Provider]
    countries: Countries | None = None

    def country_of(self, facts: Facts) -> str:
        """Where somebody is, as the edge or the database says; "" if neither knows."""
        return facts.country or (self.countries.find(facts.client_ip) if self.countries else "")

    def knows(self, identity: Identity) -> bool:
        """Whether those that this person came from may still log in here: the provider, and the tenant."""
        return identity.provider_id in self.providers and identity.source in self.index.sources

    def refresh_at(self, vouched: Vouched, now: int) -> int:
        """When to ask the provider again who somebody is, in Unix seconds; 0 for never. What could not be had just now
        is asked for soon."""
        own = {provider.id: provider.refresh_interval for provider in self.config.identity_providers}
        chosen = own.get(vouched.identity.provider_id)
        interval = self.config.identity_refresh if chosen is None else chosen
        return now + min(interval, ASK_AGAIN_SECONDS if vouched.is_partial else interval) if interval else 0

    def provider_type(self, provider_id: str) -> str:
        """The kind of a provider as the configuration names it; of one that is not there (an edge), `oidc`."""
        known = {provider.id: provider.type for provider in self.config.identity_providers}
        return known.get(provider_id, "oidc")

    def provider_name(self, provider_id: str) -> str:
        """What people call a provider."""
        known = {provider.id: provider.display_name for provider in self.config.identity_providers}
        return known.get(provider_id, "The identity provider")
