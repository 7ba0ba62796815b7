"""Service tokens as the store keeps them: sealed rows, and of a secret nothing but a keyed hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from authd.errors import SealError
from authd.model import ServiceToken
from authd.sealing import Sealer
from authd.state.base import Store

SERVICE_TOKEN_CHANGED = "service_token_changed"
_TOKEN = "service_token"
_USE = "service_token_use"
_OWNER = "operator"
_NEVER = 2**53
# A worker that has not heard of the store for so long lets nobody in any more.
_REMEMBERED_SECONDS = 2 * 86400


class ServiceTokenRows:
    """Typed, sealed rows over any `Store`. Raises what the store raises; a row that cannot be opened is missing."""

    def __init__(self, store: Store, sealer: Sealer, *, on_broken: Callable[[str], None]) -> None:
        self._store = store
        self._sealer = sealer
        self._on_broken = on_broken

    async def put(self, token: ServiceToken, *, now: int) -> None:
        """Write a service token, and tell every worker that it has changed."""
        document = asdict(token) | {"mac": token.mac.hex(), "previous_mac": token.previous_mac.hex()}
        sealed = self._seal(_TOKEN, token.client_id, document)
        await self._store.put(_TOKEN, token.client_id, sealed, expires_at=_NEVER, owner=_OWNER)
        await self._store.end(
            SERVICE_TOKEN_CHANGED, token.client_id, now=now, remembered_until=now + _REMEMBERED_SECONDS
        )

    async def delete(self, client_id: str, *, now: int) -> None:
        """Remove a service token, and tell every worker."""
        await self._store.take(_TOKEN, client_id, now=now)
        await self._tell(client_id, now)

    async def find(self, client_id: str, *, now: int) -> ServiceToken | None:
        """The service token of this id, whether it is good or not."""
        return _parse(self._open(_TOKEN, client_id, await self._store.find(_TOKEN, client_id, now=now)))

    async def list(self, *, now: int) -> list[ServiceToken]:
        """All service tokens, at most 500."""
        rows = await self._store.find_owned(_TOKEN, _OWNER, now=now)
        found = [_parse(self._open(_TOKEN, row.id, row.value)) for row in rows]
        return [token for token in found if token]

    def keep_secret(self, client_id: str, secret: str) -> bytes:
        """What is kept of a service token's secret."""
        return self._sealer.authenticate(_TOKEN, client_id, secret)

    def match_secret(self, token: ServiceToken | None, unverified_secret: str, *, now: int) -> int | None:
        """Until when this secret is good for the token; None if it is another's. As long for a token that is not
        there."""
        kept = (token.mac, token.previous_mac) if token else (b"", b"")
        id_ = token.client_id if token else ""
        is_current, is_previous = [self._sealer.is_authentic(_TOKEN, id_, unverified_secret, each) for each in kept]
        if token is None or not (is_current or is_previous):
            return None
        return token.expires_at if is_current else min(token.previous_until, token.expires_at)

    async def note_use(self, client_id: str, *, now: int, at_least_seconds: int) -> int:
        """Note that a service token is used now, unless a note is younger than that. Returns the time that stands."""
        noted = await self.find_use(client_id, now=now)
        if noted is not None and now - noted < at_least_seconds:
            return noted
        sealed = self._seal(_USE, client_id, {"at": now})
        await self._store.put(_USE, client_id, sealed, expires_at=_NEVER)
        return now

    async def find_use(self, client_id: str, *, now: int) -> int | None:
        """When a service token was last used, to the minute; None if never."""
        document = self._open(_USE, client_id, await self._store.find(_USE, client_id, now=now))
        return None if document is None else int(document["at"])

    async def _tell(self, client_id: str, now: int) -> None:
        until = now + _REMEMBERED_SECONDS
        await self._store.end(SERVICE_TOKEN_CHANGED, client_id, now=now, remembered_until=until)

    def _seal(self, kind: str, id_: str, document: Mapping[str, Any]) -> bytes:
        return self._sealer.seal(kind, id_, json.dumps(document).encode())

    def _open(self, kind: str, id_: str, row: bytes | None) -> dict[str, Any] | None:
        if row is None:
            return None
        try:
            document: dict[str, Any] = json.loads(self._sealer.open(kind, id_, row))
        except SealError:
            self._on_broken(kind)
            return None
        return document


def _parse(document: dict[str, Any] | None) -> ServiceToken | None:
    if document is None:
        return None
    mac, previous_mac = bytes.fromhex(document.pop("mac")), bytes.fromhex(document.pop("previous_mac"))
    return ServiceToken(mac=mac, previous_mac=previous_mac, **document)
