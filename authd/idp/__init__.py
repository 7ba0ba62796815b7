"""Identity providers: who says who somebody is. One module a kind; `create_provider` picks by type."""

from __future__ import annotations

from collections.abc import Callable

from authd.config import IdentityProviderConfig
from authd.idp.key_sets import MayRefetch, SharedKeySets
from authd.idp.oidc import OidcProvider

__all__ = ["MayRefetch", "OidcProvider", "SharedKeySets", "create_provider"]


def create_provider(
    config: IdentityProviderConfig,
    *,
    client_secret: str | None,
    redirect_uri: str,
    clock: Callable[[], float],
    may_refetch: MayRefetch,
    shared_key_sets: SharedKeySets | None = None,
) -> OidcProvider:
    """Make the provider of `config.type`, of which this version has one, `oidc`. Asks nobody anything."""
    return OidcProvider(
        config,
        client_secret=client_secret,
        redirect_uri=redirect_uri,
        clock=clock,
        may_refetch=may_refetch,
        shared_key_sets=shared_key_sets,
    )
