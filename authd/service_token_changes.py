"""What `authd service-tokens` does, beside workers that run: a change is in force on all of them within two seconds."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from authd.config import Config
from authd.errors import ServiceTokenChangeError
from authd.model import ServiceToken
from authd.sealing import load_sealer
from authd.state import open_store
from authd.state.base import MOST_OWNED
from authd.state.service_token_rows import ServiceTokenRows

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A token together with its secret, which is nowhere else and is shown once."""

    token: ServiceToken
    secret: str


class ServiceTokenChanges:
    """The service tokens of one installation. Every method raises StoreError, and ServiceTokenChangeError where it
    refuses."""

    def __init__(self, rows: ServiceTokenRows, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._clock = clock

    async def create(self, name: str, *, duration_seconds: int) -> NewSecret:
        """A new token with a secret of 256 bits."""
        now = self._now()
        if len(await self._rows.list(now=now)) >= MOST_OWNED:
            raise ServiceTokenChangeError(f"there are {MOST_OWNED} service tokens; delete some that nobody uses")
        client_id, secret = f"{secrets.token_hex(16)}.access", secrets.token_hex(32)
        mac = self._rows.keep_secret(client_id, secret)
        token = ServiceToken(client_id, name, mac, created_at=now, expires_at=now + duration_seconds)
        await self._rows.put(token, now=now)
        return NewSecret(token, secret)

    async def list(self) -> list[tuple[ServiceToken, int | None]]:
        """Every token, by name, with the minute of its last use (None: never used)."""
        found = sorted(await self._rows.list(now=self._now()), key=lambda token: (token.name, token.created_at))
        return [(token, await self._rows.find_use(token.client_id, now=self._now())) for token in found]

    async def get(self, unverified: str) -> ServiceToken:
        """The token of this id or name."""
        found = [each for each in await self._rows.list(now=self._now()) if unverified in (each.client_id, each.name)]
        if not found:
            raise ServiceTokenChangeError(f"no service token is called {unverified}; run: authd service-tokens list")
        if len(found) > 1:
            raise ServiceTokenChangeError(f"{len(found)} service tokens are called {unverified}; give the client id")
        return found[0]

    async def rotate(self, unverified: str, *, keep_previous_seconds: int) -> NewSecret:
        """Another secret for the same id; the old one is good for so long."""
        token, secret = await self.get(unverified), secrets.token_hex(32)
        rotated = replace(
            token,
            mac=self._rows.keep_secret(token.client_id, secret),
            previous_mac=token.mac if keep_previous_seconds else b"",
            previous_until=self._now() + keep_previous_seconds if keep_previous_seconds else 0,
        )
        await self._rows.put(rotated, now=self._now())
        return NewSecret(rotated, secret)

    async def enable(self, unverified: str, *, is_enabled: bool) -> ServiceToken:
        """Let a token in again, or no more."""
        changed = replace(await self.get(unverified), is_enabled=is_enabled)
        await self._rows.put(changed, now=self._now())
        return changed

    async def extend(self, unverified: str, *, duration_seconds: int) -> ServiceToken:
        """Let a token live so long from now on."""
        changed = replace(await self.get(unverified), expires_at=self._now() + duration_seconds)
        await self._rows.put(changed, now=self._now())
        return changed

    async def delete(self, unverified: str) -> ServiceToken:
        """Remove a token for good."""
        token = await self.get(unverified)
        await self._rows.delete(token.client_id, now=self._now())
        return token

    def _now(self) -> int:
        return int(self._clock())


def run_on_service_tokens(config: Config, act: Callable[[ServiceTokenChanges], Awaitable[_Result]]) -> _Result:
    """Open the store of a configuration, act on its service tokens, close it. Raises StoreError, SecretError,
    ServiceTokenChangeError."""

    async def run() -> _Result:
        # A store made here would belong to whoever runs the command.
        store = open_store(config.state, may_create=False)
        try:
            rows = ServiceTokenRows(store, load_sealer(config.secret_file), on_broken=_ignore)
            return await act(ServiceTokenChanges(rows, time.time))
        finally:
            await store.close()

    return asyncio.run(run())


def _ignore(kind: str) -> None:
    """A row that cannot be opened is no token; the workers report it."""
