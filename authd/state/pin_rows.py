"""What the store keeps about codes by mail beside the codes themselves, sealed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from authd.errors import SealError
from authd.sealing import Sealer
from authd.state.base import Store

KNOWN_NETWORK_SECONDS = 90 * 86400
_NETWORK, _MAIL = "pin_network", "pin_mail"
_OUTBOX = "outbox"


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """A mail that no mail server has taken yet: `content` are the fields of `idp.code_mail.CodeMail`, secrets.

    `tries` is how often that was tried. Nobody tries it before `due_at`, or at all from `expires_at` on (Unix seconds).
    """

    provider_id: str
    application_id: str
    email: str
    content: Mapping[str, Any] = field(repr=False)
    due_at: int
    expires_at: int
    tries: int = 0


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

    async def put_mail(self, id_: str, mail: WaitingMail) -> None:
        """Keep a mail until it is taken, or its code too old."""
        await self._store.put(_MAIL, id_, self._seal_mail(id_, mail), expires_at=mail.expires_at, owner=_OUTBOX)

    async def list_mails(self, *, now: int) -> list[tuple[str, WaitingMail]]:
        """Those that wait, by id; some of them, where there are very many."""
        rows = await self._store.find_owned(_MAIL, _OUTBOX, now=now)
        opened = [(row.id, self._open_mail(row.id, row.value, now)) for row in rows]
        return [(id_, mail) for id_, mail in opened if mail is not None]

    async def replace_mail(self, id_: str, old: WaitingMail, new: WaitingMail, *, now: int) -> bool:
        """True for exactly one of all who try at once, none if it is no longer as in `old`."""
        row = await self._store.find(_MAIL, id_, now=now)
        if row is None or self._open_mail(id_, row, now) != old:
            return False
        sealed = self._seal_mail(id_, new)
        return await self._store.replace(_MAIL, id_, row, sealed, now=now, expires_at=new.expires_at, owner=_OUTBOX)

    async def take_mail(self, id_: str, *, now: int) -> None:
        """Keep it no longer."""
        await self._store.take(_MAIL, id_, now=now)

    def _seal_mail(self, id_: str, mail: WaitingMail) -> bytes:
        return self._sealer.seal(_MAIL, id_, json.dumps(asdict(mail)).encode())

    def _open_mail(self, id_: str, row: bytes, now: int) -> WaitingMail | None:
        try:
            mail = WaitingMail(**json.loads(self._sealer.open(_MAIL, id_, row)))
        except (SealError, TypeError):
            # Not ours; or sealed by another version, with other fields.
            return None
        # The row's own time is not sealed.
        return mail if mail.expires_at > now else None


def _network_id(subject: str, network: str) -> str:
    """Who was where, without saying it to whoever reads the store."""
    return hashlib.sha256(f"authd network of\n{subject}\n{network}".encode()).hexdigest()
