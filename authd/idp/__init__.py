"""Identity providers: who says who somebody is. One module a kind; `create_provider` picks by type."""

from __future__ import annotations

from collections.abc import Callable

from authd.idp.key_sets import MayRefetch, SharedKeySets
from authd.idp.oidc import OidcProvider
from authd.idp.settings import ProviderSettings

__all__ = ["MayRefetch", "OidcProvider", "SharedKeySets", "create_provider"]


def create_provider(
    config: ProviderSettings,
    *,
    client_secret: str | None,
    redirect_uri: str,
    clock: Callable[[], float],
    may_refetch: MayRefetch,
    shared_key_sets: SharedKeySets | None = None,
) -> OidcProvider:
    """Make the provider of `config.type`. Asks nobody anything. Raises ValueError for an unknown type."""
    if config.type != "oidc":
        raise ValueError(f"identity provider {config.id} has the unknown type {config.type}")
    return OidcProvider(
        config,
        client_secret=client_secret,
        redirect_uri=redirect_uri,
        clock=clock,
        may_refetch=may_refetch,
        shared_key_sets=shared_key_sets,
    )
