"""Groups and claims are asked again from the provider while a session lives, behind everybody's back.

A request that finds its session's identity old is answered by it, and the session is put on the list here. One worker
of all asks, with the refresh token of the login, and tells the others. Who the provider does not know any more is out;
a provider that does not answer logs nobody out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from authd.audit import OutageLog, log_event
from authd.errors import ProviderError, ProviderRefusedError
from authd.in_force import ASK_AGAIN_SECONDS, Policies
from authd.model import Identity, Session, Vouched
from authd.sessions import Sessions
from authd.state.records import ProviderTokens, Records

# Longer than a provider may take, shorter than anybody waits for new groups.
LOCK_SECONDS = 30
RETRY_SECONDS = ASK_AGAIN_SECONDS
_MOST_TOGETHER = 8
_UNKNOWN_PERSON = frozenset({"invalid_grant", "other_subject", "tenant_not_allowed", "token_revoked", "suspended"})


class IdentityRefresh:
    """One for each worker. `note` is called by the check and only remembers; `run` asks, now and then."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        sessions: Sessions,
        records: Records,
        clock: Callable[[], float],
    ) -> None:
        self._policies = policies
        self._sessions = sessions
        self._records = records
        self._clock = clock
        self._due: dict[str, Session] = {}
        self._later: dict[str, float] = {}
        self._outages = OutageLog()

    def note(self, session: Session) -> None:
        """This session's identity is old, and its person is here."""
        if self._later.get(session.id, 0.0) <= self._clock():
            self._due[session.id] = session

    async def run(self) -> None:
        """Ask for those who are on the list, some at once. Raises StoreError; what is due comes again."""
        together = [self._due.pop(id_) for id_ in list(self._due)[:_MOST_TOGETHER]]
        for session in together:
            self._later[session.id] = self._clock() + RETRY_SECONDS
        await asyncio.gather(*(self._refresh(session) for session in together))
        now = self._clock()
        self._later = {id_: until for id_, until in self._later.items() if until > now}

    async def _refresh(self, session: Session) -> None:
        now = int(self._clock())
        if not await self._records.lock_refresh(session.id, now=now, seconds=LOCK_SECONDS):
            return
        tokens = await self._records.find_provider_tokens(session.id, now=now)
        provider = self._policies().providers.get(session.identity.provider_id)
        if tokens is None or tokens.refresh_token is None or provider is None:
            await self._go_on(session, Vouched(session.identity))
            return
        # Whoever dies between the provider's answer and our writing it has spent a token that rotates.
        await self._records.put_provider_tokens(session, replace(tokens, is_asking=True))
        try:
            vouched = await provider.refresh(session.identity, tokens.refresh_token)
        except ProviderError as error:
            await self._fail(session, tokens, error)
            return
        await self._succeed(session, tokens, vouched)

    async def _succeed(self, session: Session, tokens: ProviderTokens, vouched: Vouched) -> None:
        # The token first: without it the next refresh would end the session.
        kept = ProviderTokens(vouched.refresh_token or tokens.refresh_token, vouched.id_token or tokens.id_token)
        await self._records.put_provider_tokens(session, kept)
        identity = vouched.identity
        if _facts_of(identity) != _facts_of(session.identity):
            log_event("identity.changed", session=session.id[:6], email=identity.email)
        await self._go_on(session, vouched)

    async def _fail(self, session: Session, tokens: ProviderTokens, error: ProviderError) -> None:
        if error.cause not in _UNKNOWN_PERSON:
            # Also what is wrong with us, such as a client secret that was replaced: nobody's fault who is logged in.
            # Only an answer that says no is one: who took too long may have replaced the token nevertheless.
            is_unsure = tokens.is_asking or not isinstance(error, ProviderRefusedError)
            kept = replace(tokens, is_asking=is_unsure)
            if error.replaced_token:
                kept = replace(tokens, refresh_token=error.replaced_token, is_asking=False)
            await self._records.put_provider_tokens(session, kept)
            self._outages.report("identity.not_refreshed", key=error.provider_id, message=str(error))
            return
        if tokens.is_asking and error.cause == "invalid_grant":
            log_event("identity.refresh_lost", level="warning", session=session.id[:6], idp=error.provider_id)
            await self._records.put_provider_tokens(session, ProviderTokens(None, tokens.id_token))
            await self._go_on(session, Vouched(session.identity))
            return
        log_event(
            "session.ended",
            reason="provider",
            message=str(error),
            session=session.id[:6],
            email=session.identity.email,
        )
        await self._sessions.end(session)

    async def _go_on(self, session: Session, vouched: Vouched) -> None:
        """What was said of the person is what all workers know, until the next time."""
        refresh_at = self._policies().refresh_at(vouched, int(self._clock()))
        identity = vouched.identity
        await self._sessions.change(session.id, lambda found: replace(found, identity=identity, refresh_at=refresh_at))


def _facts_of(identity: Identity) -> tuple[object, ...]:
    return identity.groups, identity.groups_are_complete, identity.claims
