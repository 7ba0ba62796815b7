"""Who asks? The third step of the check: from what the visitor brought to a living session, or the reason why not.

The token says who, its signature says that we said so, and the session says that it still holds. Of an application
that only verifies, the edge's token says who, and there is no session here. A failure of ours is an error and never an
answer: nobody becomes anybody, and nobody is logged out, because a store did not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from authd.cookies import find_cookies_ignoring_case
from authd.errors import TokenError
from authd.frozen import quick_init
from authd.issuers import Issuers, VerifiedForeignToken
from authd.jose import UnverifiedToken, parse_json_object
from authd.model import Facts, Identity, Machine, Reason, Session
from authd.policy.index import Application
from authd.service_tokens import ServiceTokens, VerifiedServiceToken, machine_of
from authd.sessions import Sessions
from authd.tokens import Tokens, VerifiedToken
from authd.urls import OriginalUrl

MAX_REMEMBERED_TOKENS = 20_000


@quick_init
@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What nginx says about the request (design 2). All of it comes from the snippet, none from the visitor's headers.

    `path` is the one that nginx decoded and cleaned, None if the snippet sent none; `facts` are those of the
    connection, about nobody; `nginx_session` is nginx' own reading of the session cookie, the one that stands in the
    cache key. `credential_header` is the one that the application's `read_service_tokens_from_header` names. With
    `has_session_at_hand`, nginx can show the application `nginx_session` without being sent it again.
    """

    claimed_application: str
    method: str
    url: OriginalUrl
    path: str | None
    facts: Facts
    scope: str
    nginx_session: str
    cookie_header: str
    access_token: str
    assertion: str
    authorization: str
    is_preflight: bool
    client_id: str = ""
    client_secret: str = ""
    credential_header: str = ""
    has_session_at_hand: bool = False


@quick_init
@dataclass(frozen=True, slots=True)
class Credential:
    """Who asks: somebody (`identity`), a `machine`, or nobody, and `reason` says why.

    `token` is what the application is shown. `is_keyed` if nothing but what is in nginx' cache key was used;
    `is_cookie` if a browser brought it, which can be given another one; `is_bearer` if it is a machine's, good or not:
    no login would help.
    """

    identity: Identity | None
    reason: Reason
    is_keyed: bool
    is_cookie: bool = False
    session: Session | None = None
    token: str | None = None
    verified: VerifiedToken | VerifiedForeignToken | VerifiedServiceToken | None = None
    machine: Machine | None = None
    is_bearer: bool = False

    @property
    def is_somebody(self) -> bool:
        """Whether there is anyone whom policies can be asked about."""
        return self.identity is not None or self.machine is not None

    @property
    def name(self) -> str:
        """Who it is, in a word that two people, or a person and a machine, never share."""
        if self.machine:
            return f"machine {self.machine.name}"
        return self.identity.subject if self.identity else ""

    @property
    def session_id(self) -> str:
        """The session as its issuer's log calls it, empty without one."""
        if isinstance(self.verified, VerifiedForeignToken):
            return self.verified.bearer.session_id
        return self.session.id if self.session else ""


NOBODY = Credential(None, Reason.NO_CREDENTIAL, is_keyed=True)


class Credentials:
    """Finds out who asks. One for each worker; what was verified once is remembered."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        sessions: Sessions,
        issuers: Issuers,
        service_tokens: ServiceTokens,
        clock: Callable[[], float],
    ) -> None:
        self._tokens = tokens
        self._service_tokens = service_tokens
        self._issuers = issuers
        self._sessions = sessions
        self._clock = clock
        self._verified: dict[tuple[str, str], VerifiedToken] = {}

    async def find(self, request: CheckRequest, application: Application) -> Credential:
        """Who asks. Raises StoreError if the session cannot be looked up, IssuerUnavailableError if the edge's keys
        cannot."""
        values, is_keyed = _unverified_tokens(request, application)
        if not values:
            return await self._find_bearer(request, application)
        if len(values) == 1:
            return await self._verify(values[0], application, is_keyed, is_cookie=_is_cookie(values[0], request))
        # Several: each is tried, and two living sessions of different people are nobody's.
        found = [
            await self._verify(value, application, False, is_cookie=_is_cookie(value, request)) for value in values
        ]
        living = [credential for credential in found if credential.is_somebody]
        if len({credential.name for credential in living}) > 1:
            return Credential(None, Reason.CONFLICTING_SESSIONS, is_keyed=False)
        return (living or found)[0]

    async def find_service_token(self, request: CheckRequest, application: Application) -> Credential | None:
        """The machine that brings a service token; None if the request brings none. Raises StoreError.

        Nothing else that came along is looked at: strict mode (reference/access-wire.md 2.3).
        """
        if application.issuer:
            return None
        unverified = _unverified_service_token(request, application)
        if unverified is None:
            return None
        try:
            verified = await self._service_tokens.verify(*unverified, request.facts.client_ip)
        except TokenError as error:
            return Credential(None, Reason(error.code), is_keyed=True)
        machine = machine_of(verified.client_id)
        return Credential(None, Reason.POLICY_ALLOW, is_keyed=True, verified=verified, machine=machine)

    def still_holds(self, credential: Credential) -> bool:
        """Whether this very credential would be found again. Asks nobody."""
        session, verified = credential.session, credential.verified
        if isinstance(verified, VerifiedForeignToken):
            return self._issuers.still_holds(verified)
        if isinstance(verified, VerifiedServiceToken):
            return self._service_tokens.still_holds(verified)
        return (
            session is not None
            and verified is not None
            and self._sessions.is_alive(session)
            and not self._sessions.has_ended(session, verified.audience, verified.known_ends)
            and verified.expires_at > self._clock()
            and self._tokens.still_verifies(verified)
        )

    async def _find_bearer(self, request: CheckRequest, application: Application) -> Credential:
        """What stands in `Authorization`. Next to another credential it is the application's own business, and so it is
        where only an edge's tokens count."""
        text = _bearer_token(request.authorization)
        if not text or application.issuer:
            return NOBODY
        issuer = self._issuers.find_token_issuer(text)
        if issuer is None:
            return await self._verify(text, application, True, is_cookie=False)
        try:
            verified = await self._issuers.verify_bearer_token(text, issuer)
        except TokenError as error:
            return Credential(None, Reason(error.code), is_keyed=True, is_bearer=True)
        machine = verified.bearer.machine
        return Credential(None, Reason.POLICY_ALLOW, True, verified=verified, machine=machine, is_bearer=True)

    async def _verify(self, text: str, application: Application, is_keyed: bool, *, is_cookie: bool) -> Credential:
        if application.issuer:
            return await self._verify_foreign(text, application.issuer, application.aud, is_keyed)
        try:
            verified = self._recall(text, application.aud)
            if verified is None:
                verified = self._verify_anew(await self._tokens.read(text), application.aud)
        except TokenError as error:
            return Credential(None, Reason(error.code), is_keyed)
        session = await self._sessions.find(verified.session_id)
        if session is None or session.identity.subject != verified.subject:
            return Credential(None, self._sessions.why_gone(verified.session_id), is_keyed)
        if self._sessions.has_ended(session, application.aud, verified.known_ends):
            return Credential(None, Reason.SESSION_ENDED, is_keyed)
        return Credential(session.identity, Reason.POLICY_ALLOW, is_keyed, is_cookie, session, text, verified)

    async def _verify_foreign(self, text: str, issuer: str, audience: str, is_keyed: bool) -> Credential:
        try:
            verified = await self._issuers.verify_access_token(text, issuer=issuer, audience=audience)
        except TokenError as error:
            return Credential(None, Reason(error.code), is_keyed)
        bearer = verified.bearer
        return Credential(
            bearer.identity, Reason.POLICY_ALLOW, is_keyed, token=text, verified=verified, machine=bearer.machine
        )

    def _recall(self, text: str, audience: str) -> VerifiedToken | None:
        """Whether these very bytes were verified for this audience; time and key are looked at every time."""
        verified = self._verified.get((audience, text))
        if verified is None or not self._tokens.still_verifies(verified):
            return None
        if verified.expires_at <= self._clock():
            del self._verified[audience, text]
            raise TokenError(Reason.TOKEN_EXPIRED, "the token has expired")
        return verified

    def _verify_anew(self, unverified: UnverifiedToken, audience: str) -> VerifiedToken:
        verified = self._tokens.verify_application_token(unverified, audience)
        if len(self._verified) >= MAX_REMEMBERED_TOKENS:
            self._verified.pop(next(iter(self._verified)))
        self._verified[audience, unverified.text] = verified
        return verified


def _unverified_service_token(request: CheckRequest, application: Application) -> tuple[str, str] | None:
    """Id and secret, None if neither came. Two pairs that differ are no pair."""
    pairs = set()
    if request.client_id or request.client_secret:
        pairs.add((request.client_id, request.client_secret))
    if application.credential_header and "cf-access-client-" in request.credential_header.lower():
        pairs.add(_parse_credential_header(request.credential_header))
    return None if not pairs else pairs.pop() if len(pairs) == 1 else ("", "")


def _parse_credential_header(text: str) -> tuple[str, str]:
    """`{"cf-access-client-id": ..., "cf-access-client-secret": ...}`; empty where it is anything else."""
    try:
        document = parse_json_object(text.encode("latin-1"))
    except ValueError:
        return "", ""
    found = {name.lower(): value for name, value in document.items() if isinstance(value, str)}
    is_exact = len(document) == 2 and len(found) == 2
    pair = found.get("cf-access-client-id", ""), found.get("cf-access-client-secret", "")
    return pair if is_exact else ("", "")


def _unverified_tokens(request: CheckRequest, application: Application) -> tuple[list[str], bool]:
    """The tokens that the visitor brought, and whether they are exactly what stands in nginx' cache key."""
    if application.issuer and request.assertion:
        # The edge's word. What else a visitor sends along is not asked.
        return [request.assertion], True
    values, is_keyed = _unverified_cookies(request, application.cookie_name)
    if application.issuer:
        return values, is_keyed
    if request.access_token:
        values, is_keyed = list(dict.fromkeys([*values, request.access_token])), is_keyed or not values
    return values, is_keyed


def _unverified_cookies(request: CheckRequest, name: str) -> tuple[list[str], bool]:
    header, keyed = request.cookie_header, request.nginx_session
    is_single = bool(keyed) and header.lower().count(name.lower()) == 1
    # Looking for a whole token in the header costs more than deciding does.
    begins = header.find(f"{name}=") if is_single else -1
    if begins >= 0 and header.startswith(keyed, begins + len(name) + 1):
        return [keyed], True
    # nginx sees no such cookie or another one than we do (a tab before its name, a second one, the host's where the
    # path's counts): usable, but an answer that rests on it must never be given to somebody who has the same key.
    values = find_cookies_ignoring_case(header, name)
    return values, is_single and values == [keyed]


def _is_cookie(text: str, request: CheckRequest) -> bool:
    """Whether one of `_unverified_tokens` came in a cookie. Of nginx' own reading, which it gives back as it is, that
    is known, and the search for a kilobyte is saved."""
    return text is request.nginx_session or text in request.cookie_header


def _bearer_token(authorization: str) -> str:
    """A bearer that looks like a JWT. Anything else in `Authorization` belongs to the application."""
    scheme, _, text = authorization.partition(" ")
    return text if scheme.lower() == "bearer" and text.startswith("eyJ") and text.count(".") == 2 else ""
