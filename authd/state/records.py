"""What authd keeps, with its types: sessions, hand-over codes, the keyring. Every row is sealed for its kind and id.

A row that cannot be opened (another secret, another program's data, an edit by hand) is treated as missing and
reported to `on_broken`: it must neither let anybody in nor stop anybody else (reference/attacks.md F5).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from authd.errors import SealError, StoreDamagedError
from authd.keys import Keyring, SigningKey, generate_keyring, parse_keyring, render_keyring
from authd.model import LogoutToken, Session
from authd.revocations import Revocation, Scope
from authd.sealing import Sealer
from authd.state.base import MOST_OWNED, Store, StoredValue
from authd.state.session_rows import logout_token_id, owner_of, parse_session, person_owner, provider_owner

SESSION = "session"
SESSION_CHANGED = "session_changed"
REVOKED = "revoked"
REVOCATION = "revocation"
_PROVIDER_SESSION = "provider_session"
_LAST_USE = "last_use"
_PROVIDER_TOKENS = "provider_tokens"
_REFRESHING = "refreshing"
_LOGOUT_TOKEN = "logout_token"
_PROVIDER_LOGOUT = "provider_logout"
# As long as an attempt may take.
_PROVIDER_LOGOUT_SECONDS = 600
_OPERATOR = "operator"
_CODE = "code"
_STATE = "state"
_KEY_SET = "key_set"
_ISSUER_KEYS = "issuer_keys"
KEY_SET_SECONDS = 86400
KEY = "key"
_KEYRING = "keyring"
CODE_LIFETIME_SECONDS = 60
_PIN = "pin"
_NEVER = 2**53
# A worker that has not heard of the store for so long lets nobody in any more.
_CHANGE_REMEMBERED_SECONDS = 2 * 86400
# Longer than any session can live.
_REVOCATION_SECONDS = 32 * 86400
# Half a million values of one owner. A broken answer that never ends must not keep a worker from all others.
_MOST_PAGES = 1_000


@dataclass(frozen=True, slots=True)
class HandoverCode:
    """What a one-time code stands for: this session may be handed to this browser on this host.

    `app_session_hash` names the browser (SHA-256 of its CF_AppSession on `host`); `round` counts hand-overs in a row.
    """

    session_id: str
    application_id: str
    host: str
    return_path: str
    app_session_hash: str
    round: int


@dataclass(frozen=True, slots=True)
class PinCode:
    """A code that was sent to `email`, for one attempt. `code_hash` and `key_hash` are what its browser must come up
    with (see `pin_requests.PinRequest`); `expires_at` is in Unix seconds."""

    provider_id: str
    attempt_id: str
    email: str
    code_hash: str
    key_hash: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class ProviderTokens:
    """What a provider gave at a login. `is_asking` while a refresh is under way, and after one that nobody finished."""

    refresh_token: str | None = field(repr=False)
    id_token: str | None = field(repr=False)
    is_asking: bool = False


class Records:
    """Typed, sealed rows over any `Store`. Raises what the store raises."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        *,
        on_broken: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._store = store
        self._sealer = sealer
        self._on_broken = on_broken

    async def add_session(self, session: Session) -> None:
        """Write a session; it is gone at its `ends_at`."""
        if session.provider_session:
            # Before the session itself: one that its provider could not end must not begin.
            owner = provider_owner(session.identity.provider_id, session.provider_session)
            await self._store.put(_PROVIDER_SESSION, session.id, b"", expires_at=session.ends_at, owner=owner)
        sealed, owner = self._seal(SESSION, session.id, asdict(session)), owner_of(session.identity.subject)
        await self._store.put(SESSION, session.id, sealed, expires_at=session.ends_at, owner=owner)

    async def find_session(self, session_id: str, *, now: int) -> Session | None:
        """The living session, or None: one that the store does not know has ended."""
        document = self._opened(SESSION, session_id, await self._store.find(SESSION, session_id, now=now))
        return None if document is None else parse_session(document)

    async def end_session(self, session: Session, *, now: int) -> None:
        """End it everywhere. The tombstone stays as long as any token of the session could."""
        await self._store.end(SESSION, session.id, now=now, remembered_until=session.ends_at)

    async def change_session(
        self, session_id: str, change: Callable[[Session], Session], *, now: int
    ) -> Session | None:
        """Apply `change` to the session as it stands, and tell every worker. None if it has ended.

        Of several who change it at once each is applied to what the one before made: `change` may be called again.
        """
        while True:
            row = await self._store.find(SESSION, session_id, now=now)
            document = self._opened(SESSION, session_id, row)
            if row is None or document is None:
                return None
            session = parse_session(document)
            changed = change(session)
            if changed == session:
                return session
            sealed, owner = self._seal(SESSION, session_id, asdict(changed)), owner_of(session.identity.subject)
            if await self._store.replace(
                SESSION, session_id, row, sealed, now=now, expires_at=changed.ends_at, owner=owner
            ):
                await self._store.end(
                    SESSION_CHANGED, session_id, now=now, remembered_until=now + _CHANGE_REMEMBERED_SECONDS
                )
                return changed

    async def list_sessions(self, subject: str, *, now: int) -> list[Session]:
        """The living sessions of a person, at most 500, those that end last first."""
        rows = await self._store.find_owned(SESSION, owner_of(subject), now=now)
        return [session for row in rows if (session := self._open_session(row))]

    async def list_all_sessions(self, subject: str, *, now: int) -> list[Session]:
        """The living sessions of a person, however many; what ends or begins meanwhile may hide one."""
        rows = await self._read_owned(SESSION, owner_of(subject), now=now)
        return [session for row in rows if (session := self._open_session(row))]

    async def list_provider_sessions(self, provider_id: str, provider_session: str, *, now: int) -> list[Session]:
        """The living sessions that began with this session of a provider, however many."""
        rows = await self._read_owned(_PROVIDER_SESSION, provider_owner(provider_id, provider_session), now=now)
        found = [await self.find_session(row.id, now=now) for row in rows]
        return [
            session
            for session in found
            if session and (session.identity.provider_id, session.provider_session) == (provider_id, provider_session)
        ]

    async def read_sessions(self, *, now: int) -> AsyncIterator[Session]:
        """Every living session, in no order; one may come twice. Reads the whole store: for operators alone."""
        async for row in self._store.read_values(now=now):
            if row.kind == SESSION and (session := self._open_session(row)):
                yield session

    async def find_last_use(self, session_id: str, *, now: int) -> int | None:
        """When any worker last noted that a session was used; None if none did."""
        document = self._opened(_LAST_USE, session_id, await self._store.find(_LAST_USE, session_id, now=now))
        return None if document is None else int(document["at"])

    async def find_last_uses(self, session_ids: Sequence[str], *, now: int) -> dict[str, int]:
        """As `find_last_use`, of many sessions at once and by their ids."""
        rows = await self._store.find_many(_LAST_USE, session_ids, now=now)
        opened = ((id_, self._opened(_LAST_USE, id_, row)) for id_, row in rows.items())
        return {id_: int(document["at"]) for id_, document in opened if document}

    async def note_use(self, session: Session, *, now: int, at_least_seconds: int) -> int:
        """Note that a session is used now, unless a note is younger than that. Returns the time that stands."""
        row = await self._store.find(_LAST_USE, session.id, now=now)
        document = self._opened(_LAST_USE, session.id, row)
        if document and now - document["at"] < at_least_seconds:
            return int(document["at"])
        sealed = self._seal(_LAST_USE, session.id, {"at": now})
        if row is None:
            await self._store.put_if_absent(_LAST_USE, session.id, sealed, now=now, expires_at=session.ends_at)
        else:
            await self._store.replace(_LAST_USE, session.id, row, sealed, now=now, expires_at=session.ends_at)
        return now

    async def put_provider_tokens(self, session: Session, tokens: ProviderTokens) -> None:
        """Keep what lets us ask the provider again about a session, as long as the session."""
        await self._put(_PROVIDER_TOKENS, session.id, asdict(tokens), session.ends_at)

    async def find_provider_tokens(self, session_id: str, *, now: int) -> ProviderTokens | None:
        """What lets us ask the provider again about a session, if anything does."""
        row = await self._store.find(_PROVIDER_TOKENS, session_id, now=now)
        document = self._opened(_PROVIDER_TOKENS, session_id, row)
        return None if document is None else ProviderTokens(**document)

    async def lock_refresh(self, session_id: str, *, now: int, seconds: int) -> bool:
        """True for one of all workers that want to refresh a session, which has so long to do it."""
        return await self._store.put_if_absent(_REFRESHING, session_id, b"", now=now, expires_at=now + seconds)

    async def is_logout_token_spent(self, provider_id: str, token: LogoutToken, *, now: int) -> bool:
        """Whether `spend_logout_token` was called for it."""
        return await self._store.find(_LOGOUT_TOKEN, logout_token_id(provider_id, token), now=now) is not None

    async def spend_logout_token(self, provider_id: str, token: LogoutToken) -> None:
        """A logout token has done its work, and ends nothing any more."""
        id_ = logout_token_id(provider_id, token)
        await self._store.put(_LOGOUT_TOKEN, id_, b"", expires_at=token.expires_at)

    async def note_provider_logout(self, provider_id: str, token: LogoutToken, *, now: int) -> None:
        """A provider has ended one session of its own, or all of a person: logins under way have ended with them."""
        session, subject = token.session_id, token.subject
        id_ = provider_owner(provider_id, session) if session else person_owner(provider_id, subject)
        await self._put(_PROVIDER_LOGOUT, id_, {"at": now}, now + _PROVIDER_LOGOUT_SECONDS)

    async def is_logged_out_at_provider(self, session: Session, *, began_at: int) -> bool:
        """Whether the provider has ended its own session of this new one, or all of its person, since `began_at`."""
        provider_id = session.identity.provider_id
        ids = [person_owner(provider_id, session.identity.subject)]
        if session.provider_session:
            ids.append(provider_owner(provider_id, session.provider_session))
        rows = await self._store.find_many(_PROVIDER_LOGOUT, ids, now=session.created_at)
        documents = [self._opened(_PROVIDER_LOGOUT, id_, row) for id_, row in rows.items()]
        return any(began_at <= document["at"] for document in documents if document)

    async def add_revocation(self, revocation: Revocation, *, now: int) -> None:
        """Write a revocation, and tell every worker. It is remembered as long as what it ends could live."""
        until = now + _REVOCATION_SECONDS
        document = {"not_before": revocation.not_before, "scope": revocation.scope, "id": revocation.id}
        sealed = self._seal(REVOCATION, revocation.name, document)
        await self._store.put(REVOCATION, revocation.name, sealed, expires_at=until, owner=_OPERATOR)
        await self._store.end(REVOKED, revocation.render(), now=now, remembered_until=until)

    async def list_revocations(self, *, now: int) -> list[Revocation]:
        """All that still count, however many: one that is missing would let somebody in again."""
        rows = await self._read_owned(REVOCATION, _OPERATOR, now=now)
        documents = [self._opened(REVOCATION, row.id, row.value) for row in rows]
        return [
            Revocation(Scope(document["scope"]), document["id"], document["not_before"])
            for document in documents
            if document
        ]

    async def add_code(self, code_id: str, code: HandoverCode, *, now: int) -> None:
        """Write a one-time code that lives for CODE_LIFETIME_SECONDS."""
        expires_at = now + CODE_LIFETIME_SECONDS
        await self._put(_CODE, code_id, asdict(code) | {"expires_at": expires_at}, expires_at)

    async def take_code(self, unverified_code_id: str, *, now: int) -> HandoverCode | None:
        """Spend a code. Exactly one caller gets it; None if it is unknown, spent or expired."""
        row = await self._store.take(_CODE, unverified_code_id, now=now)
        document = self._opened(_CODE, unverified_code_id, row)
        # The row's own time is not sealed: whoever writes to the store could give a spent code a second life.
        if document is None or document.pop("expires_at") <= now:
            return None
        return HandoverCode(**document)

    async def spend_state(self, state: str, *, now: int, expires_at: int) -> bool:
        """Spend the state of an attempt. True for exactly one of all who try."""
        return await self._store.put_if_absent(_STATE, state, b"", now=now, expires_at=expires_at)

    async def add_pin(self, pin_id: str, pin: PinCode) -> None:
        """Write a code that was (or is about to be) sent by mail; it is gone at its `expires_at`."""
        await self._put(_PIN, pin_id, asdict(pin), pin.expires_at)

    async def find_pin(self, pin_id: str, *, now: int) -> PinCode | None:
        """The code if it is not spent and not too old."""
        document = self._opened(_PIN, pin_id, await self._store.find(_PIN, pin_id, now=now))
        # As with codes of the hand-over: the row's own time is not sealed.
        return PinCode(**document) if document and document["expires_at"] > now else None

    async def spend_pin(self, pin_id: str, *, now: int) -> bool:
        """Spend a code. True for exactly one of all who try."""
        return await self._store.take(_PIN, pin_id, now=now) is not None

    async def find(self, issuer: str) -> bytes | None:
        """A provider's key set as a worker of ours left it. See `idp.key_sets.SharedKeySets`."""
        row = await self._store.find(_KEY_SET, issuer, now=int(self._clock()))
        try:
            return None if row is None else self._sealer.open(_KEY_SET, issuer, row)
        except SealError:
            self._on_broken(_KEY_SET)
            return None

    async def leave(self, issuer: str, document: bytes) -> None:
        """Leave a provider's key set for the other workers. See `idp.key_sets.SharedKeySets`."""
        sealed = self._sealer.seal(_KEY_SET, issuer, document)
        expires_at = int(self._clock()) + KEY_SET_SECONDS
        await self._store.put(_KEY_SET, issuer, sealed, expires_at=expires_at)

    async def find_key_set(self, name: str) -> tuple[int, bytes] | None:
        """See `issuers.key_source.SharedKeySets`."""
        row = await self._store.find(_ISSUER_KEYS, name, now=int(self._clock()))
        document = self._opened(_ISSUER_KEYS, name, row)
        return (document["fetched_at"], document["document"].encode()) if document else None

    async def leave_key_set(self, name: str, fetched_at: int, document: bytes, *, expires_at: int) -> None:
        """See `issuers.key_source.SharedKeySets`."""
        left = {"fetched_at": fetched_at, "document": document.decode()}
        await self._put(_ISSUER_KEYS, name, left, expires_at)

    async def load_keyring(self, *, team_domain: str, now: int) -> Keyring:
        """The keyring; made by whichever worker comes first. Raises StoreDamagedError if it is there and cannot be
        opened:

        a new one in its place would log everybody out.
        """
        return self._open_keyring(team_domain, await self._find_or_make_keyring(team_domain, now))

    async def find_keyring(self, *, team_domain: str, now: int) -> Keyring | None:
        """The keyring if there is one. Raises StoreDamagedError if it cannot be opened."""
        row = await self._store.find(_KEYRING, team_domain, now=now)
        return None if row is None else self._open_keyring(team_domain, row)

    async def change_keyring(self, change: Callable[[Keyring], Keyring], *, team_domain: str, now: int) -> Keyring:
        """Apply `change` to the keyring as it stands and return what stands afterwards.

        Of several who change it at once one is first, and the others apply theirs to what it made: `change` may be
        called more than once, in a thread of its own since making a key takes a while, and what it raises surfaces.
        """
        while True:
            row = await self._find_or_make_keyring(team_domain, now)
            keyring = self._open_keyring(team_domain, row)
            changed = await asyncio.to_thread(change, keyring)
            if changed == keyring:
                return keyring
            sealed = self._sealer.seal(_KEYRING, team_domain, render_keyring(changed))
            if await self._store.replace(_KEYRING, team_domain, row, sealed, now=now, expires_at=_NEVER):
                return changed

    async def end_key(self, key: SigningKey, *, now: int) -> None:
        """Tell every worker that a key has left the keyring before its time. The tombstone stays as long as any token
        of the key could."""
        await self._store.end(KEY, key.key_id, now=now, remembered_until=key.verifies_until)

    async def _find_or_make_keyring(self, team_domain: str, now: int) -> bytes:
        row = await self._store.find(_KEYRING, team_domain, now=now)
        if row is None:
            fresh = await asyncio.to_thread(generate_keyring, team_domain=team_domain, now=now)
            sealed = self._sealer.seal(_KEYRING, team_domain, render_keyring(fresh))
            await self._store.put_if_absent(_KEYRING, team_domain, sealed, now=now, expires_at=_NEVER)
            row = await self._store.find(_KEYRING, team_domain, now=now) or b""
        return row

    def _open_keyring(self, team_domain: str, row: bytes) -> Keyring:
        try:
            return parse_keyring(self._sealer.open(_KEYRING, team_domain, row))
        except SealError as error:
            raise StoreDamagedError(
                "the signing keys in the store were sealed with another secret; "
                "put that secret back as a further line of secret_file"
            ) from error

    async def _read_owned(self, kind: str, owner: str, *, now: int) -> list[StoredValue]:
        rows: list[StoredValue] = []
        for number in range(_MOST_PAGES):
            page = await self._store.find_owned(kind, owner, now=now, skip=number * MOST_OWNED)
            if not page:
                return rows
            rows += page
        raise StoreDamagedError(f"the store does not come to an end with the values of one owner: {len(rows)} so far")

    async def _put(self, kind: str, id_: str, document: dict[str, Any], expires_at: int) -> None:
        await self._store.put(kind, id_, self._seal(kind, id_, document), expires_at=expires_at)

    def _seal(self, kind: str, id_: str, document: Mapping[str, Any]) -> bytes:
        return self._sealer.seal(kind, id_, json.dumps(document).encode())

    def _open_session(self, row: StoredValue) -> Session | None:
        document = self._opened(SESSION, row.id, row.value)
        return None if document is None else parse_session(document)

    def _opened(self, kind: str, id_: str, row: bytes | None) -> dict[str, Any] | None:
        if row is None:
            return None
        try:
            document: dict[str, Any] = json.loads(self._sealer.open(kind, id_, row).decode())
        except SealError:
            self._on_broken(kind)
            return None
        return document
