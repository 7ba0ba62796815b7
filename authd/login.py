"""Who is this? The second of authd's two stories, from the application's host to the identity provider and back.

    application host   begin     a visitor without a session gets the address of the team host's login
    team host          start     already logged in: hand over; several providers: choose; else: on to the provider
    team host          finish    the provider's answer becomes an identity, a session, and a one-time code
    application host   redeem    the code becomes the application's own token

The browser that began is the browser that ends: the code is bound to the name of the browser on the application's host
(AppSession) and to the attempt's cookie on the team host, and is spent once. Wire: reference/access-wire.md 1.3.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from authd.application_tokens import ApplicationTokens
from authd.attempts import (
    ATTEMPT_SECONDS,
    META_SECONDS,
    AppSession,
    Attempt,
    Attempts,
    Meta,
    find_app_session,
    forget_attempt,
    hash_path,
)
from authd.cookies import find_cookie, render_cookie
from authd.errors import LoginError, TokenError
from authd.evaluations import Evaluations
from authd.in_force import Policies
from authd.limits import LoginLimits
from authd.login_steps import Choose, Client, Denied, Redirect
from authd.model import Outcome, Session, Vouched
from authd.policy.decide import decide
from authd.policy.index import EDGE_COOKIE, Application
from authd.sessions import Sessions
from authd.state.records import HandoverCode, ProviderTokens, Records
from authd.tokens import Tokens
from authd.urls import encode_parameter, find_return_path, find_single, parse_query

TEAM_COOKIE = "__Host-authd_team"
MAX_ROUNDS = 3


class Login:
    """Logs people in. One for each worker. `policies` is asked each time; `new_id` gives unguessable text of a
    length."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        attempts: Attempts,
        tokens: Tokens,
        application_tokens: ApplicationTokens,
        sessions: Sessions,
        evaluations: Evaluations,
        records: Records,
        limits: LoginLimits,
        clock: Callable[[], float],
        new_id: Callable[[int], str],
    ) -> None:
        self._policies = policies
        self._attempts = attempts
        self._tokens = tokens
        self._application_tokens = application_tokens
        self._sessions = sessions
        self._evaluations = evaluations
        self._records = records
        self._limits = limits
        self._clock = clock
        self._new_id = new_id

    # --- application host -------------------------------------------------------------------------------------------

    def begin(
        self,
        application: Application,
        host: str,
        return_path: str,
        cookie_header: str,
        prompt: str | None = None,
    ) -> Redirect:
        """The way to the login. The browser keeps its name on this host, so that several tabs share it."""
        known = find_app_session(cookie_header)
        app_session = known or AppSession(self._new_id(22))
        now = self._clock()
        meta = Meta(
            application_id=application.id,
            host=host,
            return_path_hash=hash_path(return_path),
            app_session_hash=app_session.hash,
            round=app_session.rounds(application.aud, now),
            prompt=prompt,
            expires_at=int(now) + META_SECONDS,
        )
        location = self.login_url(application, host, return_path) + f"&meta={self._attempts.render_meta(meta)}"
        return Redirect(location, () if known else (app_session.render(now),))

    def login_url(self, application: Application, host: str, return_path: str) -> str:
        """The login's address without `meta`: it leads back to the application, where the login begins properly."""
        base = f"{self._team_url()}/login/{host}?kid={application.aud}"
        return f"{base}&redirect_url={encode_parameter(return_path)}"

    def is_looping(self, application: Application, cookie_header: str) -> bool:
        """True if this browser was handed over to the application MAX_ROUNDS times in a row and still comes without a
        session."""
        app_session = find_app_session(cookie_header)
        return app_session is not None and app_session.rounds(application.aud, self._clock()) >= MAX_ROUNDS

    async def redeem(self, unverified_query: str, host: str, client: Client) -> Redirect:
        """Turn a one-time code into the application's token. Raises LoginError; StoreError if the store does not
        answer.

        A code that another browser began is not redeemed, and neither is one whose session or permission has ended
        since.
        """
        query = parse_query(unverified_query)
        code_id = find_single(query, "nonce")
        code = await self._records.take_code(code_id, now=int(self._clock())) if code_id else None
        if code is None or code.host != host:
            state_path = self._attempts.find_path(find_single(query, "state") or "", host)
            return_url = self._origin(host) + (state_path or "/")
            raise _start_again("code_unknown", "This login link was used before, or it is too old.", return_url)
        app_session = find_app_session(client.cookie_header)
        return_url = self._origin(host) + code.return_path
        if app_session is None:
            raise _start_again("cookie_missing", "Your browser did not keep the cookie of this login.", return_url)
        if not hmac.compare_digest(app_session.hash, code.app_session_hash):
            # Two tabs that began at once hold one cookie: the other tab starts over, and finds the session. Somebody
            # who was sent here with a foreign code starts a login of their own.
            return Redirect(return_url)
        return await self._hand_token(code, app_session, client, return_url)

    async def _hand_token(
        self, code: HandoverCode, app_session: AppSession, client: Client, return_url: str
    ) -> Redirect:
        application = self._policies().index.find_by_id(code.application_id)
        session = await self._sessions.find(code.session_id)
        if application is None or session is None:
            raise _start_again("session_ended", "The session of this login has ended meanwhile.", return_url)
        decision = decide(application, client.facts.about(session.identity))
        if decision.outcome is not Outcome.ALLOW or session.identity.source not in application.sources:
            if application.asks_for_certificates:
                sentence = "This application admits you only with a client certificate, and your browser showed none."
                raise LoginError("certificate_needed", 403, sentence, return_url)
            # The page itself says who is denied and why: the check decides again, on the way back.
            return Redirect(return_url)
        now = self._clock()
        issued = self._application_tokens.issue(session, application, decision)
        counted = AppSession(
            app_session.name, round=code.round + 1, round_at=int(now), application_tag=application.aud[:8]
        )
        return Redirect(return_url, (issued.cookie, counted.render(now)))

    # --- team host --------------------------------------------------------------------------------------------------

    async def start(self, unverified_host: str, unverified_query: str, client: Client) -> Redirect | Choose | Denied:
        """Begin, or end at once for somebody who is logged in. Raises LoginError, ProviderError, StoreError."""
        query = parse_query(unverified_query)
        application = self.find_application(unverified_query, unverified_host)
        return_path = find_return_path(find_single(query, "redirect_url") or "/")
        if return_path is None:
            raise LoginError(
                "redirect_invalid", 400, "The address to return to is not a path on the application's host."
            )
        if application is None:
            raise LoginError("application_unknown", 400, "This login link names no application that is known here.")
        host = unverified_host
        meta = self._attempts.find_meta(find_single(query, "meta") or "", host)
        if meta is None or (meta.application_id, meta.return_path_hash) != (application.id, hash_path(return_path)):
            # Only the application's host can say which browser began: go there and come back.
            return Redirect(self._origin(host) + return_path)
        if meta.prompt is None:
            session = await self.find_team_session(client)
            if session and session.identity.source in application.sources:
                return await self._hand_over(application, return_path, session, meta, client, ())
        return await self._ask_provider(application, return_path, meta, find_single(query, "idp"), client)

    def find_application(self, unverified_query: str, unverified_host: str) -> Application | None:
        """The application that a login address names, if it is one of that host."""
        index = self._policies().index
        application = index.find_by_aud(find_single(parse_query(unverified_query), "kid") or "")
        return application if application and index.serves_host(application, unverified_host) else None

    async def _ask_provider(
        self, application: Application, return_path: str, meta: Meta, wanted: str | None, client: Client
    ) -> Redirect | Choose:
        allowed = application.allowed_idps
        chosen = allowed[0] if len(allowed) == 1 else wanted
        if chosen is None or chosen not in allowed:
            return self._choices(application, return_path, meta)
        now = int(self._clock())
        # Ids begin with the time, so that the oldest attempts can be told.
        id_ = f"{now:x}{self._new_id(8)}"
        attempt = Attempt(
            id=id_,
            state=f"{id_}.{self._new_id(32)}",
            nonce=self._new_id(32),
            code_verifier=self._new_id(64),
            provider_id=chosen,
            application_id=application.id,
            host=meta.host,
            return_path=return_path,
            app_session_hash=meta.app_session_hash,
            round=meta.round,
            expires_at=now + ATTEMPT_SECONDS,
            began_at=now,
        )
        location = (
            await self._policies()
            .providers[chosen]
            .begin(state=attempt.state, nonce=attempt.nonce, code_verifier=attempt.code_verifier, prompt=meta.prompt)
        )
        return Redirect(location, tuple(self._attempts.render_attempt(attempt, client.cookie_header)))

    def _choices(self, application: Application, return_path: str, meta: Meta) -> Choose:
        base = self.login_url(application, meta.host, return_path) + f"&meta={self._attempts.render_meta(meta)}"
        name = self._policies().provider_name
        choices = tuple((name(id_), f"{base}&idp={encode_parameter(id_)}") for id_ in application.allowed_idps)
        return Choose(application, meta.host, choices)

    async def finish(self, unverified_query: str, client: Client) -> Redirect | Denied:
        """The identity provider's answer. Raises LoginError, ProviderError, StoreError."""
        attempt = self.get_attempt(unverified_query, client)
        provider = self._policies().providers.get(attempt.provider_id)
        if provider is None:
            raise configuration_changed(self.return_url(attempt))
        await self._limits.count_address(client.facts.client_ip)

        async def identify() -> Vouched:
            return await provider.finish(unverified_query, nonce=attempt.nonce, code_verifier=attempt.code_verifier)

        return await self.complete(attempt, client, identify)

    async def complete(
        self, attempt: Attempt, client: Client, identify: Callable[[], Awaitable[Vouched]]
    ) -> Redirect | Denied:
        """End an attempt with the identity that `identify` finds, which is asked once the attempt is spent.

        Raises LoginError, StoreError, and what `identify` raises. The caller has counted the client's address.
        """
        return_url = self.return_url(attempt)
        application = self._policies().index.find_by_id(attempt.application_id)
        if application is None:
            raise configuration_changed(return_url)
        if not await self._records.spend_state(attempt.state, now=int(self._clock()), expires_at=attempt.expires_at):
            raise _start_again("state_used", "This login was used before.", return_url)
        vouched = await identify()
        await self._limits.count_person(vouched.identity.subject)
        session, team_cookie = await self._open_session(vouched, client, attempt.began_at)
        cookies = (team_cookie, *forget_attempt(attempt.id, client.cookie_header))
        return await self._hand_over(application, attempt.return_path, session, attempt, client, cookies)

    def get_attempt(self, unverified_query: str, client: Client) -> Attempt:
        """The same as `find_attempt`. Raises LoginError if there is none."""
        attempt = self.find_attempt(unverified_query, client)
        if attempt is None:
            sentence = "This login was not begun in this browser, was used before, or is too old."
            raise _start_again("state_invalid", sentence, f"https://{self._policies().config.team_domain}/")
        return attempt

    def find_attempt(self, unverified_query: str, client: Client) -> Attempt | None:
        """The attempt that a callback belongs to, if this very browser began it."""
        state = find_single(parse_query(unverified_query), "state") or ""
        attempt = self._attempts.find_attempt(state, client.cookie_header)
        return attempt if attempt and hmac.compare_digest(attempt.state.encode(), state.encode()) else None

    async def find_team_session(self, client: Client) -> Session | None:
        """The session that this browser has on the team host, if it lives. Raises StoreError."""
        text = find_cookie(client.cookie_header, TEAM_COOKIE) or ""
        try:
            verified = self._tokens.verify_organisation_token(await self._tokens.read(text))
        except TokenError:
            return None
        session = await self._sessions.find(verified.session_id)
        if session is None or self._policies().index.team_session_ends_at(session) <= self._clock():
            return None
        return session if self._policies().knows(session.identity) else None

    async def find_application_session(self, client: Client) -> Session | None:
        """The session behind an application's token in the edge's cookie, as an application sends it. Raises
        StoreError."""
        text = find_cookie(client.cookie_header, EDGE_COOKIE) or ""
        try:
            unverified = await self._tokens.read(text)
            verified = self._tokens.verify_any_application_token(unverified, self._is_application)
        except TokenError:
            return None
        session = await self._sessions.find(verified.session_id)
        if session is None or session.identity.subject != verified.subject:
            return None
        # Who has logged out of that application has taken its token back.
        has_left = self._sessions.has_ended(session, verified.audience, verified.known_ends)
        return session if self._policies().knows(session.identity) and not has_left else None

    def _is_application(self, audience: str) -> bool:
        return self._policies().index.find_by_aud(audience) is not None

    async def _open_session(self, vouched: Vouched, client: Client, began_at: int) -> tuple[Session, str]:
        """A new session, never an old one continued. The one that this browser had ends: its cookie is replaced, and
        nobody could end it any more. Only if the same person's came while this attempt was under way, another tab of
        theirs was faster, and both stay."""
        previous = await self.find_team_session(client)
        now, identity, config = int(self._clock()), vouched.identity, self._policies().config
        duration = config.session_duration_seconds
        session = Session(
            id=self._new_id(16),
            identity=identity,
            created_at=now,
            expires_at=now + duration,
            # Access lets an application's token live longer than the session on the team host.
            tokens_until=now + config.longest_token_seconds,
            client_ip=str(client.facts.client_ip),
            user_agent=client.user_agent[:200],
            country=self._policies().country_of(client.facts),
            provider_session=vouched.session_id,
            refresh_at=self._policies().refresh_at(vouched, now) if vouched.refresh_token else 0,
        )
        if vouched.refresh_token or vouched.id_token:
            tokens = ProviderTokens(vouched.refresh_token, vouched.id_token)
            await self._records.put_provider_tokens(session, tokens)
        await self._sessions.add(session)
        await self._end_if_logged_out(session, began_at)
        is_same_person = previous is not None and previous.identity.subject == identity.subject
        if previous and not (is_same_person and previous.created_at >= began_at):
            await self._sessions.end(previous)
        token = self._tokens.issue_organisation_token(session)
        return session, render_cookie(TEAM_COOKIE, token, max_age_seconds=duration, now=self._clock())

    async def _end_if_logged_out(self, session: Session, began_at: int) -> None:
        """The provider may have ended its own session while this login was under way: it did not see ours then."""
        if await self._records.is_logged_out_at_provider(session, began_at=began_at):
            await self._sessions.end(session)
            team_url = f"{self._policies().config.issuer}/"
            raise _start_again("session_ended", "The session of this login has ended meanwhile.", team_url)

    async def _hand_over(
        self,
        application: Application,
        return_path: str,
        session: Session,
        began: Meta | Attempt,
        client: Client,
        cookies: tuple[str, ...],
    ) -> Redirect | Denied:
        session = await self._evaluations.complete(session, application)
        decision = decide(application, client.facts.about(session.identity))
        # Nobody is asked for a client certificate on the team host: the application's host will tell.
        if decision.outcome is not Outcome.ALLOW and not application.asks_for_certificates:
            return Denied(application, began.host, return_path, session, decision, cookies)
        code_id = self._new_id(32)
        code = HandoverCode(
            session_id=session.id,
            application_id=application.id,
            host=began.host,
            return_path=return_path,
            app_session_hash=began.app_session_hash,
            round=began.round,
        )
        await self._records.add_code(code_id, code, now=int(self._clock()))
        prefix = self._policies().config.path_prefix
        state = self._attempts.render_path(return_path, began.host)
        return Redirect(
            f"{self._origin(began.host)}{prefix}/authorized?nonce={code_id}&state={state}", cookies, session
        )

    def return_url(self, attempt: Attempt) -> str:
        """The page that an attempt is to end on; going there starts again."""
        return self._origin(attempt.host) + attempt.return_path

    # --- addresses --------------------------------------------------------------------------------------------------

    def _team_url(self) -> str:
        config = self._policies().config
        return f"https://{config.team_domain}{config.path_prefix}"

    def _origin(self, host: str) -> str:
        return self._policies().index.public_origin(host)


def configuration_changed(return_url: str) -> LoginError:
    """A reload has taken away what an attempt was about."""
    return _start_again("configuration_changed", "The configuration changed during this login.", return_url)


def _start_again(code: str, sentence: str, return_url: str) -> LoginError:
    return LoginError(code, 400, sentence, return_url)
