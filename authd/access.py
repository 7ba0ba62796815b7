"""May this request pass? The first of authd's two stories, from top to bottom.

    1. Which application is it?        nginx' claim, host and path must agree; a URL with two readings is refused
    2. Does anything pass without login?   preflight, bypass
    3. Who asks?                       the token, its signature, its session
    4. What do today's policies say?   on the session's identity, not on what stood at login
    5. May nginx remember the answer?  only if it rests on nothing outside the cache key

Nothing here can end in "let in" but by a policy that says so: an error surfaces, and nginx treats it as a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from authd.cookies import find_cookies_ignoring_case
from authd.errors import TokenError
from authd.model import Decision, Facts, Outcome, Reason, Session
from authd.policy.decide import decide
from authd.policy.index import Application, PolicyIndex
from authd.sessions import Sessions
from authd.tokens import Tokens, VerifiedToken
from authd.urls import OriginalUrl, decode_path, is_ambiguous_path, readings_of

MAX_REMEMBERED_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What nginx says about the request (design 2). All of it comes from the snippet, none from the visitor's headers.

    `path` is the one that nginx decoded and cleaned, None if the snippet sent none; `nginx_session` is nginx' own
    reading of the session cookie, the one that stands in the cache key.
    """

    claimed_application: str
    method: str
    url: OriginalUrl
    path: str | None
    client_ip: IPv4Address | IPv6Address
    scope: str
    nginx_session: str
    cookie_header: str
    access_token: str
    authorization: str
    is_preflight: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision and what it rests on. `is_cacheable` if on nothing but what stands in nginx' cache key."""

    decision: Decision
    application: Application | None = None
    session: Session | None = None
    token: str | None = None
    verified: VerifiedToken | None = None
    index: PolicyIndex | None = None
    is_cacheable: bool = False


@dataclass(frozen=True, slots=True)
class _Credential:
    """Who asks. Without a session, `reason` says why not; `is_keyed` if nothing but what is in nginx' cache key was
    used."""

    session: Session | None
    token: str | None
    verified: VerifiedToken | None
    reason: Reason
    is_keyed: bool


_NOBODY = _Credential(None, None, None, Reason.NO_CREDENTIAL, is_keyed=True)


class Access:
    """Answers the check. One for each worker; `index` is asked each time, so that a reload needs no restart."""

    def __init__(
        self,
        *,
        index: Callable[[], PolicyIndex],
        tokens: Tokens,
        sessions: Sessions,
        clock: Callable[[], float],
        decision_cache_seconds: int,
    ) -> None:
        self._index = index
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self._decision_cache_seconds = decision_cache_seconds
        self._verified: dict[tuple[str, str], VerifiedToken] = {}

    async def check(self, request: CheckRequest) -> Verdict:
        """Decide one request. Raises StoreError if the session cannot be looked up."""
        index = self._index()
        application = locate(index, request)
        if isinstance(application, Decision):
            return Verdict(application)
        if request.is_preflight and application.options_preflight_bypass:
            return Verdict(Decision(Outcome.BYPASS, Reason.PREFLIGHT_BYPASS, application.id), application)
        if _may_open_without_login(application):
            # Before any credential: a broken token or store must not close what is open without a login.
            anonymous = decide(application, Facts(request.client_ip, None))
            if anonymous.outcome is Outcome.BYPASS or anonymous.outcome is Outcome.ALLOW:
                # An outsider could fill the cache with addresses that are open to all: the host's alone.
                return Verdict(anonymous, application, is_cacheable=index.decision_scope(request.url.host) == "host")
        credential = await self._find_credential(request, application)
        if credential.session is None:
            return Verdict(_refuse(application, request.client_ip, credential.reason), application)
        if credential.session.identity.provider_id not in application.allowed_idps:
            return Verdict(_refuse(application, request.client_ip, Reason.PROVIDER_NOT_ALLOWED), application)
        decision = decide(application, Facts(request.client_ip, credential.session.identity))
        return Verdict(
            decision,
            application,
            credential.session,
            credential.token,
            credential.verified,
            index,
            is_cacheable=credential.is_keyed and _is_scope_fine(index, request),
        )

    def still_holds(self, verdict: Verdict) -> bool:
        """Whether the very same request would be let in again, by the same policies, session and token. Asks nobody."""
        session, verified = verdict.session, verdict.verified
        return (
            session is not None
            and verified is not None
            and verdict.index is self._index()
            and self._sessions.is_alive(session)
            and verified.expires_at > self._clock()
            and self._tokens.still_verifies(verified)
        )

    def cacheable_until(self, verdict: Verdict) -> int:
        """Until when nginx may give this answer again, 0 for never: an absolute Unix time, since plain seconds live up
        to one longer."""
        if not verdict.is_cacheable or not self._decision_cache_seconds:
            return 0
        until = int(self._clock()) + self._decision_cache_seconds - 1
        return min(until, verdict.verified.expires_at - 1) if verdict.verified else until

    async def find_session(self, request: CheckRequest, application: Application) -> Session | None:
        """Who asks, without deciding anything: for get-identity and logout. Raises StoreError."""
        return (await self._find_credential(request, application)).session

    async def _find_credential(self, request: CheckRequest, application: Application) -> _Credential:
        values, is_keyed = _unverified_tokens(request, application)
        if not values:
            return _NOBODY
        if len(values) == 1:
            return await self._verify_credential(values[0], application, is_keyed)
        # Several: each is tried, and two living sessions of different people are nobody's.
        found = [await self._verify_credential(value, application, is_keyed=False) for value in values]
        living = [credential for credential in found if credential.session]
        if len({credential.session.identity.subject for credential in living if credential.session}) > 1:
            return _Credential(None, None, None, Reason.CONFLICTING_SESSIONS, is_keyed=False)
        return (living or found)[0]

    async def _verify_credential(self, text: str, application: Application, is_keyed: bool) -> _Credential:
        if (application.aud, text) not in self._verified:
            await self._tokens.learn_key_of(text)
        try:
            verified = self._verify_token(text, application.aud)
        except TokenError as error:
            return _Credential(None, None, None, Reason(error.code), is_keyed)
        session = await self._sessions.find(verified.session_id)
        if session is None or session.identity.subject != verified.subject:
            ended = self._sessions.has_ended(verified.session_id)
            reason = Reason.SESSION_ENDED if ended else Reason.SESSION_UNKNOWN
            return _Credential(None, None, None, reason, is_keyed)
        return _Credential(session, text, verified, Reason.POLICY_ALLOW, is_keyed)

    def _verify_token(self, text: str, audience: str) -> VerifiedToken:
        """Verify, or remember having verified these very bytes for this audience; time and key are looked at every
        time."""
        verified = self._verified.get((audience, text))
        if verified is None or not self._tokens.still_verifies(verified):
            verified = self._tokens.verify_application_token(text, audience)
            if len(self._verified) >= MAX_REMEMBERED_TOKENS:
                self._verified.pop(next(iter(self._verified)))
            self._verified[audience, text] = verified
        if verified.expires_at <= self._clock():
            del self._verified[audience, text]
            raise TokenError(Reason.TOKEN_EXPIRED, "the token has expired")
        return verified


def locate(index: PolicyIndex, request: CheckRequest) -> Application | Decision:
    """The application of the request, or the refusal.

    The name that the location gives is a claim: it must be the most specific application of host and path. A raw URL
    that two programs could read differently passes only to an application that covers the whole host, and only if it
    stays that application's under every reading.
    """
    host, path = request.url.host, request.path
    if path is None:
        return _locate_without_path(index, request)
    application = index.find_application(host, path)
    if application is None:
        return Decision(Outcome.DENY, Reason.APPLICATION_UNKNOWN)
    if request.claimed_application and request.claimed_application != application.id:
        return Decision(Outcome.DENY, Reason.APPLICATION_MISMATCH, application.id)
    if not is_ambiguous_path(request.url.raw_path):
        # nginx and we must have read the same path; a snippet in the wrong place sends another one.
        same = decode_path(request.url.raw_path) == path
        return application if same else Decision(Outcome.DENY, Reason.MALFORMED_REQUEST, application.id)
    is_pinned = bool(request.claimed_application) or index.is_only_application(application, host)
    readings = readings_of(request.url.raw_path)
    if (
        index.covers_whole_host(application, host)
        and is_pinned
        and all(index.find_application(host, reading) is application for reading in readings)
    ):
        return application
    return Decision(Outcome.DENY, Reason.AMBIGUOUS_URL, application.id)


def _locate_without_path(index: PolicyIndex, request: CheckRequest) -> Application | Decision:
    """nginx sent no path: good enough only where the path cannot matter, and the location says which application it
    is."""
    host = request.url.host
    application = index.find_application(host, "/")
    if application is None:
        return Decision(Outcome.DENY, Reason.APPLICATION_UNKNOWN)
    if request.claimed_application != application.id or not index.is_only_application(application, host):
        return Decision(Outcome.DENY, Reason.APPLICATION_MISMATCH, application.id)
    return application


def _is_scope_fine(index: PolicyIndex, request: CheckRequest) -> bool:
    """False if nginx was rendered when one application covered this host: its key is coarser than today's policies."""
    host = request.url.host
    return index.decision_scope(host) == "host" or request.scope.startswith(f"{host}/")


def _may_open_without_login(application: Application) -> bool:
    """Whether a policy could let somebody in whom nobody knows. Those stand first (`Application.policies`)."""
    return bool(application.policies) and application.policies[0].decision in ("bypass", "non_identity")


def _refuse(application: Application, client_ip: IPv4Address | IPv6Address, reason: Reason) -> Decision:
    """What becomes of a visitor without a usable session: a login, where one could help, says what was wrong."""
    if reason is Reason.CONFLICTING_SESSIONS:
        return Decision(Outcome.DENY, reason, application.id)
    anonymous = decide(application, Facts(client_ip, None))
    if anonymous.outcome is not Outcome.LOGIN:
        return anonymous
    return Decision(Outcome.LOGIN, reason, application.id)


def _unverified_tokens(request: CheckRequest, application: Application) -> tuple[list[str], bool]:
    """The tokens that the visitor brought, and whether they are exactly what stands in nginx' cache key."""
    name, header, keyed = application.cookie_name, request.cookie_header, request.nginx_session
    is_single = bool(keyed) and header.lower().count(name.lower()) == 1
    if is_single and f"{name}={keyed}" in header:
        values, is_keyed = [keyed], True
    else:
        # nginx sees no such cookie or another one than we do (a tab before its name, a second one, the host's where the
        # path's counts): usable, but an answer that rests on it must never be given to somebody who has the same key.
        values = find_cookies_ignoring_case(header, name)
        is_keyed = is_single and values == [keyed]
    if request.access_token:
        values, is_keyed = list(dict.fromkeys([*values, request.access_token])), is_keyed or not values
    if not values:
        # A bearer next to another credential is the application's own business.
        bearer = _bearer_token(request.authorization)
        values, is_keyed = [bearer] if bearer else [], True
    return values, is_keyed


def _bearer_token(authorization: str) -> str:
    """A bearer that looks like a JWT. Anything else in `Authorization` belongs to the application."""
    scheme, _, text = authorization.partition(" ")
    return text if scheme.lower() == "bearer" and text.startswith("eyJ") and text.count(".") == 2 else ""
