"""The token that an application's cookie holds: how long it lives, and its renewal before it ends.

A token lives as long as the policy that admitted its person says, else the application, else the organisation
(reference/access-wire.md 4.1). In the last part of its life each request that is let in may bring the browser the next
one, as long as the session on the team host lives: a page that goes on asking never meets the login.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from authd.cookies import render_cookie
from authd.frozen import quick_init
from authd.model import Decision, Ends, Session
from authd.policy.index import Application
from authd.tokens import Tokens, VerifiedToken

# The last third: a page that asks twice in that time is renewed without noticing. An hour of a long one is enough.
_PART = 3
MOST_RENEWAL_SECONDS = 3600
# All requests of these seconds bring the same new token: a browser sends several at once, and signing costs 0.4 ms.
OFFER_SECONDS = 5
# Then the old one is as good as before for a while: a client that keeps no cookies must not be signed for each time.
PAUSE_SECONDS = 60
MAX_OFFERS = 20_000


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token with the cookie that brings it. `at` is when it was signed, in Unix seconds."""

    text: str
    cookie: str
    at: float


@quick_init
@dataclass(frozen=True, slots=True)
class Renewal:
    """What a request brings its browser (None for nothing), and when to look again."""

    issued: IssuedToken | None
    look_again_at: float


NO_RENEWAL = Renewal(None, inf)


class ApplicationTokens:
    """Issues and renews. One for each worker."""

    def __init__(self, tokens: Tokens, *, ends_of: Callable[[Session, str], Ends], clock: Callable[[], float]) -> None:
        """`ends_of` says what has ended of a session's tokens for an AUD tag, as far as this worker knows."""
        self._tokens = tokens
        self._ends_of = ends_of
        self._clock = clock
        self._offers: dict[tuple[str, str, Ends], IssuedToken] = {}

    def issue(self, session: Session, application: Application, decision: Decision) -> IssuedToken:
        """A token for one application on one decision. It never outlives what its session may carry."""
        now = self._clock()
        expires_at = min(int(now) + decision.session_seconds, session.ends_at)
        text = self._tokens.issue_application_token(
            session,
            audience=application.aud,
            expires_at=expires_at,
            policy_id=decision.policy_id,
            known_ends=self._ends_of(session, application.aud),
        )
        cookie = render_cookie(application.cookie_name, text, max_age_seconds=expires_at - int(now), now=now)
        return IssuedToken(text, cookie, now)

    def renew(
        self,
        verified: VerifiedToken,
        session: Session,
        application: Application,
        decision: Decision,
        *,
        team_session_ends_at: float,
    ) -> Renewal:
        """The next token for somebody who was let in with this one, if it is time for it."""
        now = self._clock()
        window = min((verified.expires_at - verified.issued_at) // _PART, MOST_RENEWAL_SECONDS)
        due_at = verified.expires_at - window
        if team_session_ends_at <= due_at or session.ends_at <= verified.expires_at:
            return NO_RENEWAL
        if now < due_at:
            return Renewal(None, due_at)
        if now >= team_session_ends_at:
            return NO_RENEWAL
        return self._offer(verified, session, application, decision)

    def _offer(
        self, verified: VerifiedToken, session: Session, application: Application, decision: Decision
    ) -> Renewal:
        # What was offered before a logout has ended with it.
        key, now = (session.id, application.aud, self._ends_of(session, application.aud)), self._clock()
        offered = self._offers.get(key)
        # What was signed before this very token belongs to an earlier renewal.
        if offered and int(offered.at) > verified.issued_at and now - offered.at < PAUSE_SECONDS:
            if now - offered.at < OFFER_SECONDS:
                return Renewal(offered, now)
            return Renewal(None, offered.at + PAUSE_SECONDS)
        issued = self.issue(session, application, decision)
        self._offers.pop(key, None)
        if len(self._offers) >= MAX_OFFERS:
            del self._offers[next(iter(self._offers))]
        self._offers[key] = issued
        return Renewal(issued, now)
