"""What `authd sessions` does, beside workers that run: reads sessions, and ends them so that every worker follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from authd.config import Config, derive_aud, parse_email
from authd.errors import SessionChangeError
from authd.key_changes import render_time
from authd.model import Session
from authd.revocations import Scope
from authd.sealing import load_sealer
from authd.sessions import Sessions
from authd.state import open_store
from authd.state.records import Records

LEAST_PREFIX = 6
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was revoked, in words, and how many living sessions that were seen to end by it (None: not counted)."""

    what: str
    sessions: int | None


class SessionChanges:
    """The sessions of one installation. Every method raises StoreError, and SessionChangeError where it refuses."""

    def __init__(self, sessions: Sessions, records: Records, config: Config, clock: Callable[[], float]) -> None:
        self._sessions = sessions
        self._records = records
        self._config = config
        self._clock = clock

    async def list(self, *, person: str | None, provider: str | None) -> list[Session]:
        """The living sessions, newest first: of a person (address or subject), of a provider, or all."""
        address = parse_email(person) if person and "@" in person else None
        if person and "@" in person and address is None:
            raise SessionChangeError(f"{person} is no e-mail address")
        found: dict[str, Session] = {}
        async for session in self._records.read_sessions(now=int(self._clock())):
            identity = session.identity
            is_theirs = person is None or identity.subject == person or (address and identity.email == address)
            if is_theirs and provider in (None, identity.provider_id) and not self._sessions.is_revoked(session):
                found[session.id] = session
        return sorted(found.values(), key=lambda session: -session.created_at)

    async def get(self, unverified_id: str) -> Session:
        """The session of this id, or whose id begins so: the log names sessions by their first six characters."""
        if len(unverified_id) < LEAST_PREFIX:
            raise SessionChangeError(f"give at least the first {LEAST_PREFIX} characters of the session's id")
        found = [each for each in await self.list(person=None, provider=None) if each.id.startswith(unverified_id)]
        if not found:
            raise SessionChangeError(f"no living session has the id {unverified_id}; run: authd sessions list")
        if len(found) > 1:
            raise SessionChangeError(f"{len(found)} sessions begin with {unverified_id}; give more of the id")
        return found[0]

    async def last_use(self, session: Session) -> int:
        """When the session was last noted to be used, in Unix seconds."""
        return (await self._sessions.last_uses([session]))[0]

    async def revoke_session(self, unverified_id: str) -> Revoked:
        """End one session, on every worker within two seconds."""
        session = await self.get(unverified_id)
        await self._sessions.end(session)
        return Revoked(f"session {session.id[:LEAST_PREFIX]} of {session.identity.account}", 1)

    async def revoke_person(self, person: str) -> Revoked:
        """End every session of a person, by address or subject; a login that is under way ends, too."""
        found = await self.list(person=person, provider=None)
        subjects = {session.identity.subject for session in found} or ({person} if "@" not in person else set())
        if not subjects:
            raise SessionChangeError(f"nobody with the address {person} has a living session")
        for subject in subjects:
            await self._sessions.revoke(Scope.PERSON, subject)
        # Each one as well: the clock of the machine that wrote it may be ahead of this one's.
        for session in found:
            await self._sessions.end(session)
        return Revoked(f"every session of {person}", len(found))

    async def revoke_application(self, application_id: str) -> Revoked:
        """End every token of an application; its people come back through the team host."""
        known = {each.id: each for each in self._config.applications}
        if application_id not in known:
            raise SessionChangeError(f"no application has the id {application_id}; there are: {', '.join(known)}")
        await self._sessions.revoke(Scope.APPLICATION, derive_aud(self._config.team_domain, known[application_id]))
        return Revoked(f"every token of the application {application_id}", None)

    async def revoke_provider(self, provider_id: str) -> Revoked:
        """End every session that began with a provider, which need not be configured any more."""
        found = await self.list(person=None, provider=provider_id)
        if not found and provider_id not in {each.id for each in self._config.identity_providers}:
            raise SessionChangeError(f"no identity provider has the id {provider_id}, and no session came from one")
        await self._sessions.revoke(Scope.PROVIDER, provider_id)
        await self._end_what_is_ahead(provider_id)
        return Revoked(f"every session that began with {provider_id}", len(found))

    async def revoke_everything(self) -> Revoked:
        """End every session."""
        found = await self.list(person=None, provider=None)
        await self._sessions.revoke(Scope.EVERYTHING, "")
        await self._end_what_is_ahead(None)
        return Revoked("every session", len(found))

    async def _end_what_is_ahead(self, provider_id: str | None) -> None:
        """After a revocation: sessions that live on began after it, by the clock of the machine that wrote them."""
        for session in await self.list(person=None, provider=provider_id):
            await self._sessions.end(session)


def render_session(session: Session) -> dict[str, object]:
    """A session for scripts; nothing in it lets anybody in. Times in UTC as in RFC 3339."""
    identity = session.identity
    return {
        "id": session.id,
        "email": identity.email,
        "name": identity.name,
        "subject": identity.subject,
        "provider": identity.provider_id,
        "groups": list(identity.groups),
        "all_groups": identity.groups_are_complete,
        "began": render_time(session.created_at),
        "ends": render_time(session.expires_at),
        "ip": session.client_ip,
        "country": session.country,
        "user_agent": session.user_agent,
    }


def run_on_sessions(config: Config, act: Callable[[SessionChanges], Awaitable[_Result]]) -> _Result:
    """Open the store of a configuration, act on its sessions, close it. Raises StoreError, SecretError,
    SessionChangeError."""

    async def run() -> _Result:
        # A store made here would belong to whoever runs the command.
        store = open_store(config.state, may_create=False)
        try:
            records = Records(store, load_sealer(config.secret_file), on_broken=_ignore, clock=time.time)
            sessions = Sessions(store, records, clock=time.time, monotonic=time.monotonic, outage_grace_seconds=0)
            await sessions.start()
            return await act(SessionChanges(sessions, records, config, time.time))
        finally:
            await store.close()

    return asyncio.run(run())


def _ignore(kind: str) -> None:
    """A row that cannot be opened is nobody's session; the workers report it."""
