"""When each session was last used: known to the worker at once, to the others within a minute.

A worker writes a session's time when the one in the store is a minute old, so that idle time costs one write a session
and minute however many workers and machines see it. Before a session is ended for being idle, the store is asked what
the others saw; while it does not answer, nobody is idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from authd.model import Session
from authd.state.records import Records

NOTE_SECONDS = 60
_MOST_TOGETHER = 100


class Activity:
    """The last use of each session that this worker remembers. `idle_seconds` is asked each time; 0 is never idle."""

    def __init__(self, records: Records, *, clock: Callable[[], float], idle_seconds: Callable[[], int]) -> None:
        self._records = records
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._seen: dict[str, float] = {}
        self._noted: dict[str, int] = {}
        self._due: dict[str, Session] = {}

    def touch(self, session: Session) -> bool:
        """A session is used. False if this worker cannot say that it is not idle: then ask `recall`."""
        idle_seconds = self._idle_seconds()
        if not idle_seconds:
            return True
        now, last = self._clock(), self._seen.get(session.id)
        if last is None or now - last > idle_seconds:
            return False
        self._seen[session.id] = now
        if now - self._noted[session.id] >= NOTE_SECONDS:
            self._due[session.id] = session
        return True

    async def recall(self, session: Session) -> bool:
        """Look what other workers saw. False if the session has been idle for too long. Raises StoreError."""
        # A note of before it began is none of it: nonsense of ours must not end a session.
        noted = max(await self._records.find_last_use(session.id, now=int(self._clock())) or 0, session.created_at)
        now = self._clock()
        if now - max(noted, self._seen.get(session.id, 0.0)) > self._idle_seconds():
            return False
        self._seen[session.id], self._noted[session.id] = now, noted
        return self.touch(session)

    async def flush(self) -> None:
        """Write the times that are due, a bounded number at once. Raises StoreError; what is due stays due."""
        due = list(self._due.values())
        # Not until nothing is due: what cannot be noted would be tried for ever, and hold up the worker.
        for start in range(0, len(due), _MOST_TOGETHER):
            await asyncio.gather(*map(self._note, due[start : start + _MOST_TOGETHER]))

    def forget(self, session_id: str) -> None:
        """The worker remembers this session no more."""
        for known in (self._seen, self._noted, self._due):
            known.pop(session_id, None)

    async def _note(self, session: Session) -> None:
        now = int(self._clock())
        noted = await self._records.note_use(session, now=now, at_least_seconds=NOTE_SECONDS)
        if session.id in self._noted:
            # As in `recall`: what is no time must not be kept for one, or every check of the session would fail.
            self._noted[session.id] = max(noted, session.created_at)
        self._due.pop(session.id, None)
