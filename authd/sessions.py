"""Which sessions live: the store's word, remembered in the worker, so that a request costs no read of the store.

Each worker remembers the sessions that it has seen and asks twice a second which ones have ended. A session that
neither the worker nor the store knows has ended. While the store does not answer, remembered sessions go on for
`outage_grace_seconds`; then nobody is let in any more, and that is reported as an outage, never as a denial.
"""

from __future__ import annotations

from collections.abc import Callable

from authd.errors import StoreUnavailableError
from authd.model import Session
from authd.state.base import Store, Tombstone
from authd.state.records import SESSION, Records

POLL_SECONDS = 0.5
MAX_REMEMBERED = 20_000


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
        on_other_end: Callable[[Tombstone], None] = lambda tombstone: None,
    ) -> None:
        """`on_other_end` is told, by `poll`, of whatever ends that is no session."""
        self._store = store
        self._records = records
        self._clock = clock
        self._monotonic = monotonic
        self._outage_grace_seconds = outage_grace_seconds
        self._on_other_end = on_other_end
        self._remembered: dict[str, Session] = {}
        self._ended: dict[str, None] = {}
        self._cursor = 0
        self._answered_at = monotonic()

    async def start(self) -> None:
        """Take the newest tombstone as the beginning: what ended before has no row any more. Raises StoreError."""
        self._cursor = await self._store.cursor()
        self._answered_at = self._monotonic()

    async def poll(self) -> None:
        """Learn which sessions have ended. Raises StoreError if the store does not answer; call again later."""
        for tombstone in await self._store.tombstones_since(self._cursor):
            if tombstone.kind == SESSION:
                self._forget(tombstone.id)
            else:
                self._on_other_end(tombstone)
            self._cursor = tombstone.sequence
        self._answered_at = self._monotonic()

    async def find(self, session_id: str) -> Session | None:
        """The living session, or None if it has ended. Raises StoreError if nobody can say.

        Without a suspension for a remembered session: that is the hot path.
        """
        session = self._remembered.get(session_id)
        if session is None:
            session = await self._records.find_session(session_id, now=int(self._clock()))
            # It may have ended while the store was answering.
            if session is None or session_id in self._ended:
                return None
            self._remember(session)
        elif self._monotonic() - self._answered_at > self._outage_grace_seconds:
            raise StoreUnavailableError("the store has been unreachable for longer than store_outage_grace")
        return session if session.expires_at > self._clock() else None

    def is_alive(self, session: Session) -> bool:
        """Whether this very session is remembered and lives, as far as this worker may know. Asks nobody."""
        return (
            self._remembered.get(session.id) is session
            and session.expires_at > self._clock()
            and self._monotonic() - self._answered_at <= self._outage_grace_seconds
        )

    def has_ended(self, session_id: str) -> bool:
        """True if the session was ended, false if it expired or never was, as far as this worker knows."""
        return session_id in self._ended

    async def add(self, session: Session) -> None:
        """A login has succeeded. Raises StoreError; then there is no session."""
        await self._records.add_session(session)
        self._remember(session)

    async def end(self, session: Session) -> None:
        """End a session everywhere: here at once, elsewhere with the next poll. Raises StoreError if it is not
        recorded."""
        await self._records.end_session(session, now=int(self._clock()))
        self._forget(session.id)

    def _remember(self, session: Session) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[session.id] = session

    def _forget(self, session_id: str) -> None:
        self._remembered.pop(session_id, None)
        if len(self._ended) >= MAX_REMEMBERED:
            self._ended.pop(next(iter(self._ended)))
        self._ended[session_id] = None
