"""Logging out: of one application or of all, here and at the provider, and by the provider's own word.

A logout never depends on a cookie that can be read: whatever is left of ours is removed, and what is found ends.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from authd.audit import log_event
from authd.errors import ProviderError, ProviderLiedError
from authd.in_force import Policies
from authd.limits import LogoutLimits
from authd.model import LogoutToken, Session
from authd.policy.index import Application
from authd.sessions import Sessions
from authd.state.records import Records
from authd.urls import find_host

MAX_RETURN_URL_CHARACTERS = 2048
# A list may miss what began while it was read, and so it is read again. Nobody begins sessions as fast as they end.
_MOST_ROUNDS = 20


class Logout:
    """One for each worker. Every method that ends something raises StoreError if it is not recorded."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        sessions: Sessions,
        records: Records,
        limits: LogoutLimits,
        clock: Callable[[], float],
    ) -> None:
        self._policies = policies
        self._sessions = sessions
        self._records = records
        self._limits = limits
        self._clock = clock

    def find_return_url(self, unverified_url: str) -> str | None:
        """Where a logout may lead: hosts of applications, the team host, and what `logout_return_urls` lists.

        Judged by the parts that a browser sees, and given back rebuilt from them: nothing else reaches a header.
        """
        config = self._policies().config
        if unverified_url in config.logout_return_urls:
            return unverified_url
        if len(unverified_url) > MAX_RETURN_URL_CHARACTERS or not _is_plain(unverified_url):
            return None
        try:
            parts = urlsplit(unverified_url)
            host, port = find_host(parts.hostname or "") or "", parts.port
        except ValueError:
            return None
        index = self._policies().index
        is_ours = host == config.team_host or bool(index.applications_on(host))
        origin = index.public_origin(host) if host else ""
        written = f"https://{host}" if port in (None, 443) else f"https://{host}:{port}"
        if parts.scheme != "https" or parts.username is not None or not is_ours or written != origin:
            return None
        query = f"?{parts.query}" if parts.query else ""
        return f"{origin}{parts.path or '/'}{query}"

    async def leave(self, session: Session, application: Application) -> None:
        """Log out of one application. Its token has ended; the others and the session go on."""
        await self._sessions.leave(session, application.aud)

    async def end(self, session: Session, *, return_url: str) -> str | None:
        """Log out everywhere. Returns where the browser logs out of the provider too, if it is to."""
        at_provider = await self._provider_url(session, return_url)
        await self._sessions.end(session)
        return at_provider

    async def end_own(self, own: Session, unverified_id: str) -> bool:
        """End another session of the same person; "all", "others" or its id. False if there is no such session."""
        has_ended = False
        for _ in range(_MOST_ROUNDS):
            sessions = await self._sessions.list_all_of(own.identity.subject)
            chosen = {
                "all": sessions,
                "others": [session for session in sessions if session.id != own.id],
            }.get(unverified_id, [session for session in sessions if session.id == unverified_id])
            if not chosen:
                break
            await self._sessions.end_all(chosen)
            has_ended = True
        return has_ended

    async def end_by_provider(self, unverified_token: str, address: IPv4Address | IPv6Address) -> int:
        """A provider's back-channel logout (OpenID Connect Back-Channel Logout 1.0): how many sessions ended.

        Raises ProviderError if the token is not good, or nobody's, LoginLimitError if too many of those came from the
        address, StoreError. One that came before ends nothing more.
        """
        self._limits.check(address)
        refusal = ProviderError("", "logout_token_issuer", "no provider of ours has sent this logout token")
        for provider_id, provider in self._policies().providers.items():
            try:
                token = await provider.read_logout_token(unverified_token)
            except ProviderError as error:
                # Two providers may have one issuer, which knows authd by two client ids.
                refusal = error
                continue
            if token:
                return await self._end_for_provider(provider_id, token)
        if isinstance(refusal, ProviderLiedError):
            await self._limits.count_refused(address)
        raise refusal

    async def _end_for_provider(self, provider_id: str, token: LogoutToken) -> int:
        now = int(self._clock())
        if await self._records.is_logout_token_spent(provider_id, token, now=now):
            return 0
        # Before anything is looked for: a login that is written from now on looks for this.
        await self._records.note_provider_logout(provider_id, token, now=now)
        ended = 0
        for _ in range(_MOST_ROUNDS):
            found = await self._find_sessions(provider_id, token)
            if not found:
                break
            await self._sessions.end_all(found)
            ended += len(found)
            for session in found:
                log_event("session.ended", reason="provider", session=session.id[:6], email=session.identity.email)
        # Not before: what could not be ended must end when the provider tries again.
        await self._records.spend_logout_token(provider_id, token)
        return ended

    async def _find_sessions(self, provider_id: str, token: LogoutToken) -> list[Session]:
        if token.session_id:
            now = int(self._clock())
            theirs = await self._records.list_provider_sessions(provider_id, token.session_id, now=now)
            return [each for each in theirs if token.subject in ("", each.identity.subject)]
        theirs = await self._sessions.list_all_of(token.subject)
        return [each for each in theirs if each.identity.provider_id == provider_id]

    async def _provider_url(self, session: Session, return_url: str) -> str | None:
        provider = self._policies().providers.get(session.identity.provider_id)
        if provider is None:
            return None
        tokens = await self._records.find_provider_tokens(session.id, now=int(self._clock()))
        try:
            return await provider.logout_url(tokens.id_token if tokens else None, return_url=return_url)
        except ProviderError as error:
            # Being logged out here must not wait for somebody who does not answer.
            log_event("logout.provider_failed", level="warning", idp=error.provider_id, message=str(error))
            return None


def _is_plain(url: str) -> bool:
    """Nothing in it that two programs could read differently."""
    return url.isascii() and url.isprintable() and not set(url) & set(' \\<>"^`{|}#') and url.startswith("https://")
