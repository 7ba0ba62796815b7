"""What the store keeps about codes by mail beside the codes themselves, sealed."""

from __future__ import annotations

import hashlib
import json

from authd.errors import SealError
from authd.sealing import Sealer
from authd.state.base import Store

KNOWN_NETWORK_SECONDS = 90 * 86400
_NETWORK = "pin_network"


class PinRows:
    """Typed rows over any `Store`. Raises what the store raises."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def note_network(self, subject: str, network: str, *, now: int) -> None:
        """Somebody logs in by a code from this network: codes that they ask for there are counted apart for a while."""
        expires_at = now + KNOWN_NETWORK_SECONDS
        id_ = _network_id(subject, network)
        sealed = self._sealer.seal(_NETWORK, id_, json.dumps({"expires_at": expires_at}).encode())
        await self._store.put(_NETWORK, id_, sealed, expires_at=expires_at)

    async def is_known_network(self, subject: str, network: str, *, now: int) -> bool:
        """Whether they did so in the last KNOWN_NETWORK_SECONDS."""
        id_ = _network_id(subject, network)
        row = await self._store.find(_NETWORK, id_, now=now)
        try:
            return row is not None and json.loads(self._sealer.open(_NETWORK, id_, row))["expires_at"] > now
        except SealError:
            return False


def _network_id(subject: str, network: str) -> str:
    """Who was where, without saying it to whoever reads the store."""
    return hashlib.sha256(f"authd network of\n{subject}\n{network}".encode()).hexdigest()
