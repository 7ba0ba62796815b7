"""Identity providers: who says who somebody is. One module a kind; `create_provider` picks by type."""

from __future__ import annotations

from collections.abc import Callable

from authd.config import IdentityProviderConfig, OneTimePinConfig
from authd.config.github import GithubConfig
from authd.idp.github import GithubProvider
from authd.idp.key_sets import MayRefetch, SharedKeySets
from authd.idp.oidc import OidcProvider
from authd.idp.onetimepin import OneTimePinProvider

__all__ = ["MayRefetch", "OidcProvider", "OneTimePinProvider", "SharedKeySets", "create_provider"]


def create_provider(
    config: IdentityProviderConfig,
    *,
    client_secret: str | None,
    redirect_uri: str,
    clock: Callable[[], float],
    may_refetch: MayRefetch,
    shared_key_sets: SharedKeySets | None = None,
) -> OidcProvider | GithubProvider | OneTimePinProvider:
    """Make the provider of `config.type`. Asks nobody anything. `client_secret` is the one secret that goes with it."""
    if isinstance(config, GithubConfig):
        return GithubProvider(config, client_secret=client_secret, redirect_uri=redirect_uri, clock=clock)
    if isinstance(config, OneTimePinConfig):
        return OneTimePinProvider(config, password=client_secret, redirect_uri=redirect_uri, clock=clock)
    return OidcProvider(
        config,
        client_secret=client_secret,
        redirect_uri=redirect_uri,
        clock=clock,
        may_refetch=may_refetch,
        shared_key_sets=shared_key_sets,
    )
