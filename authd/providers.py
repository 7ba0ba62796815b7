"""The identity providers of one worker: made from the configuration, and kept over reloads where nothing changed.

A provider holds keys and connections that were learned at run time; a reload that touches a policy must not cost them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from authd.config import Config, IdentityProviderConfig
from authd.errors import SecretError
from authd.idp import create_provider
from authd.in_force import Provider
from authd.state.base import Store
from authd.state.records import Records

_REFETCH_SECONDS = 30


@dataclass(frozen=True, slots=True)
class _Kept:
    """A provider, and all that it was made of."""

    config: IdentityProviderConfig
    redirect_uri: str
    client_secret: str | None
    provider: Provider


class Providers:
    """Makes providers and closes those that nobody needs any more."""

    def __init__(
        self,
        *,
        store: Store,
        records: Records,
        clock: Callable[[], float],
        find_client_secret: Callable[[IdentityProviderConfig], str | None],
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._find_client_secret = find_client_secret
        self._kept: dict[str, _Kept] = {}

    def select(self, config: Config) -> Mapping[str, Provider]:
        """The providers of a configuration by id. Raises SecretError, and changes nothing then."""
        wanted = {each.id: self._find_or_make(config, each) for each in config.identity_providers}
        for id_, old in self._kept.items():
            if id_ not in wanted or wanted[id_].provider is not old.provider:
                old.provider.close()
        self._kept = wanted
        return {id_: kept.provider for id_, kept in wanted.items()}

    def close(self) -> None:
        """Let go of every provider's threads and connections."""
        for kept in self._kept.values():
            kept.provider.close()

    def _find_or_make(self, config: Config, wanted: IdentityProviderConfig) -> _Kept:
        redirect_uri = f"https://{config.team_domain}{config.path_prefix}/callback"
        secret = self._find_client_secret(wanted)
        old = self._kept.get(wanted.id)
        if old and (old.config, old.redirect_uri, old.client_secret) == (wanted, redirect_uri, secret):
            return old
        provider = create_provider(
            wanted,
            client_secret=secret,
            redirect_uri=redirect_uri,
            clock=self._clock,
            may_refetch=self._may_refetch,
            shared_key_sets=self._records,
        )
        return _Kept(wanted, redirect_uri, secret, provider)

    async def _may_refetch(self, provider_id: str) -> bool:
        """At most one fetch of a provider's keys for an unknown key id, in 30 s, over all workers. Raises StoreError:

        an outage of ours must not look like a provider that lies.
        """
        now = int(self._clock())
        count = await self._store.count("key_set_refetch", provider_id, now=now, window_seconds=_REFETCH_SECONDS)
        return count == 1


def load_client_secret(provider: IdentityProviderConfig) -> str | None:
    """The one secret of a provider (client secret, password) from its file or variable; None without one.

    Raises SecretError, without the secret.
    """
    name = provider.secret_env
    if name is not None:
        if not os.environ.get(name):
            raise SecretError(f"identity provider {provider.id}: the environment has no {name}")
        return os.environ[name]
    if provider.secret_file is None:
        return None
    try:
        return Path(provider.secret_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"identity provider {provider.id}: {provider.secret_file} cannot be read"
        raise SecretError(f"{sentence} ({type(error).__name__})") from error
