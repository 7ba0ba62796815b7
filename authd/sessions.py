"""Which sessions live: the store's word, remembered in the worker, so that a request costs no read of the store.

Each worker remembers the sessions that it has seen and asks twice a second which ones have ended or changed, and what
an operator revoked. A session that neither worker nor store knows has ended. While the store does not answer,
remembered sessions go on for `outage_grace_seconds`; then nobody is let in any more, and that is reported as an outage,
never as a denial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from authd.activity import Activity
from authd.audit import log_event
from authd.errors import StoreUnavailableError
from authd.model import Ends, Reason, Session
from authd.revocations import Revocation, Revocations, Scope, parse_revocation
from authd.state.base import Store, Tombstone
from authd.state.records import REVOKED, SESSION, SESSION_CHANGED, Records

POLL_SECONDS = 0.5
MAX_REMEMBERED = 20_000
# Few enough that all of them are recorded within the deadline of a call.
_MOST_TOGETHER = 50


class Sessions:
    """The sessions as one worker sees them. Call `start` once, then `poll` every POLL_SECONDS."""

    def __init__(
        self,
        store: Store,
        records: Records,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        outage_grace_seconds: float,
        idle_seconds: Callable[[], int] = lambda: 0,
        on_other_end: Callable[[Tombstone], None] = lambda tombstone: None,
        on_old_identity: Callable[[Session], None] = lambda session: None,
    ) -> None:
        """`idle_seconds` says how long a session may go unused, 0 for ever. `on_other_end` is told, by `poll`, of
        whatever ends that is no session, and `on_old_identity` of a session in use whose provider is to be asked."""
        self._store = store
        self._records = records
        self._clock = clock
        self._monotonic = monotonic
        self._outage_grace_seconds = outage_grace_seconds
        self._on_other_end = on_other_end
        self._on_old_identity = on_old_identity
        self._activity = Activity(records, clock=clock, idle_seconds=idle_seconds)
        self._revocations = Revocations()
        self._remembered: dict[str, Session] = {}
        self._ended: dict[str, Reason] = {}
        self._changed: set[str] = set()
        self._cursor = 0
        self._answered_at = monotonic()

    async def start(self) -> None:
        """Take the newest tombstone as the beginning: what ended before has no row any more. Raises StoreError."""
        self._cursor = await self._store.cursor()
        # After the cursor: what is revoked meanwhile is among these or comes with the first poll.
        self._revocations.learn(await self._records.list_revocations(now=int(self._clock())))
        self._answered_at = self._monotonic()

    async def poll(self) -> None:
        """Learn which sessions have ended. Raises StoreError if the store does not answer; call again later."""
        for tombstone in await self._store.tombstones_since(self._cursor):
            self._follow(tombstone)
            self._cursor = tombstone.sequence
        self._answered_at = self._monotonic()
        await self._activity.flush()

    def _follow(self, tombstone: Tombstone) -> None:
        if tombstone.kind == SESSION:
            self._forget(tombstone.id, Reason.SESSION_ENDED)
        elif tombstone.kind == SESSION_CHANGED:
            self._remembered.pop(tombstone.id, None)
            self._changed.add(tombstone.id)
        elif tombstone.kind == REVOKED:
            self._learn(tombstone.id)
        else:
            self._on_other_end(tombstone)

    async def find(self, session_id: str) -> Session | None:
        """The living session, or None if it has ended. Raises StoreError if nobody can say.

        Without a suspension for a remembered session: that is the hot path.
        """
        session = self._remembered.get(session_id)
        if session is None:
            session = await self._recall(session_id)
            if session is None:
                return None
        elif not self.is_in_touch:
            raise StoreUnavailableError("the store has been unreachable for longer than store_outage_grace")
        if session.ends_at <= self._clock():
            return None
        # Only a clear no ends a session: a fault of ours is none.
        if not self._activity.touch(session) and await self._activity.recall(session) is False:
            await self.end(session, Reason.SESSION_IDLE)
            return None
        if session.refresh_at and session.refresh_at <= self._clock():
            self._on_old_identity(session)
        return session

    async def _recall(self, session_id: str) -> Session | None:
        self._changed.discard(session_id)
        session = await self._records.find_session(session_id, now=int(self._clock()))
        # It may have ended while the store was answering, or by a word that names no session.
        if session is None or session_id in self._ended:
            return None
        if self._revocations.ends_session(session):
            self._forget(session_id, Reason.SESSION_ENDED)
            return None
        if session_id not in self._changed:
            self._remember(session)
        return session

    def is_alive(self, session: Session) -> bool:
        """Whether this very session is remembered and lives, as far as this worker may know. Asks nobody."""
        return (
            self._remembered.get(session.id) is session
            and session.ends_at > self._clock()
            and self.is_in_touch
            and self._activity.touch(session)
            and not (session.refresh_at and session.refresh_at <= self._clock())
        )

    @property
    def is_in_touch(self) -> bool:
        """Whether the store was heard of lately enough to go by what is remembered."""
        return self._monotonic() - self._answered_at <= self._outage_grace_seconds

    def has_ended(self, session: Session, audience: str, known_ends: Ends) -> bool:
        """Whether a token of this session for this application has ended, though the session lives: its issuer did not
        know of an end that is known here. Clocks may differ; this does not ask them."""
        ends = self.ends_of(session, audience)
        return known_ends.left < ends.left or known_ends.revoked < ends.revoked

    def ends_of(self, session: Session, audience: str) -> Ends:
        """What this worker knows to have ended of the session's tokens for this application."""
        left = session.left.get(audience, 0) if session.left else 0
        return Ends(left, self._revocations.tokens_ended_at(audience))

    def why_gone(self, session_id: str) -> Reason:
        """Why `find` has no such session, as far as this worker knows: ended, idle, or expired or never heard of."""
        return self._ended.get(session_id, Reason.SESSION_UNKNOWN)

    async def add(self, session: Session) -> None:
        """A login has succeeded. Raises StoreError; then there is no session."""
        await self._records.add_session(session)
        self._remember(session)

    async def end(self, session: Session, reason: Reason = Reason.SESSION_ENDED) -> None:
        """End a session everywhere: here at once, elsewhere with the next poll. Raises StoreError if it is not
        recorded."""
        await self._records.end_session(session, now=int(self._clock()))
        if reason is Reason.SESSION_IDLE:
            log_event("session.ended", reason="idle", session=session.id[:6], email=session.identity.email)
        self._forget(session.id, reason)

    async def end_all(self, sessions: Sequence[Session]) -> None:
        """End them everywhere, some at once. Raises StoreError if any of them is not recorded."""
        for start in range(0, len(sessions), _MOST_TOGETHER):
            await asyncio.gather(*map(self.end, sessions[start : start + _MOST_TOGETHER]))

    async def change(self, session_id: str, change: Callable[[Session], Session]) -> Session | None:
        """Change a session everywhere: here at once, elsewhere with the next poll. None if it has ended.

        `change` may be called several times, each time with what stands then. Raises StoreError.
        """
        changed = await self._records.change_session(session_id, change, now=int(self._clock()))
        if changed and session_id not in self._ended:
            self._remember(changed)
        return changed

    async def leave(self, session: Session, audience: str) -> None:
        """End this session's tokens for one application, everywhere. Raises StoreError."""
        now = int(self._clock())

        def note(found: Session) -> Session:
            return replace(found, left={**found.left, audience: max(now, found.left.get(audience, 0) + 1)})

        await self.change(session.id, note)

    def is_revoked(self, session: Session) -> bool:
        """Whether an operator's revocation ends this session, which the store may still hold."""
        return self._revocations.ends_session(session)

    async def list_of(self, subject: str) -> list[Session]:
        """A person's living sessions, at most 500. Raises StoreError."""
        found = await self._records.list_sessions(subject, now=int(self._clock()))
        return [session for session in found if not self._revocations.ends_session(session)]

    async def list_all_of(self, subject: str) -> list[Session]:
        """As `list_of`, however many; one that ends or begins meanwhile may hide another. Raises StoreError."""
        found = await self._records.list_all_sessions(subject, now=int(self._clock()))
        return [session for session in found if not self._revocations.ends_session(session)]

    async def last_uses(self, sessions: Sequence[Session]) -> list[int]:
        """When each was last noted to be used, where that is noted at all; else its beginning. One call of the store,
        however many they are. Raises StoreError."""
        noted = await self._records.find_last_uses([each.id for each in sessions], now=int(self._clock()))
        return [noted.get(each.id, each.created_at) for each in sessions]

    async def revoke(self, scope: Scope, id_: str) -> None:
        """End all that a scope and id stand for and that began until now, everywhere. Raises StoreError."""
        now = int(self._clock())
        # Never the same twice, nor an earlier one: tokens say which one their issuer knew.
        not_before = max(now, self._revocations.tokens_ended_at(id_) + 1) if scope is Scope.APPLICATION else now
        revocation = Revocation(scope, id_, not_before)
        await self._records.add_revocation(revocation, now=now)
        self._learn(revocation.render())

    def _learn(self, unverified_text: str) -> None:
        try:
            revocation = parse_revocation(unverified_text)
        except ValueError:
            return log_event("store.broken_row", level="error", kind=REVOKED, message="a revocation cannot be read")
        self._revocations.learn([revocation])
        for session in [each for each in self._remembered.values() if self._revocations.ends_session(each)]:
            self._forget(session.id, Reason.SESSION_ENDED)
        return log_event("session.revoked", scope=revocation.scope, id=revocation.id)

    def _remember(self, session: Session) -> None:
        if len(self._remembered) >= MAX_REMEMBERED and session.id not in self._remembered:
            oldest = next(iter(self._remembered))
            del self._remembered[oldest]
            self._activity.forget(oldest)
        self._remembered[session.id] = session

    def _forget(self, session_id: str, reason: Reason) -> None:
        self._remembered.pop(session_id, None)
        self._activity.forget(session_id)
        if len(self._ended) >= MAX_REMEMBERED:
            self._ended.pop(next(iter(self._ended)))
        self._ended.setdefault(session_id, reason)
