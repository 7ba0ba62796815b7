"""May this request pass? The first of authd's two stories, from top to bottom.

    1. Which application is it?        nginx' claim, host and path must agree; a URL with two readings is refused
    2. Does anything pass without login?   preflight, bypass
    3. Who asks?                       the token, its signature, its session (credentials.py)
    4. What do today's policies say?   on the session's identity, not on what stood at login
    5. Is it time for the next token?  the browser is brought one before this one ends (application_tokens.py)
    6. May nginx remember the answer?  only if it rests on nothing outside the cache key

Nothing here can end in "let in" but by a policy that says so: an error surfaces, and nginx treats it as a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from authd.application_tokens import NO_RENEWAL, ApplicationTokens, Renewal
from authd.client_certificates import machine_of_certificate
from authd.credentials import NOBODY, CheckRequest, Credential, Credentials
from authd.frozen import quick_init
from authd.machine_tokens import MachineTokens
from authd.model import Decision, Facts, Identity, Outcome, Reason, Session
from authd.policy.decide import decide
from authd.policy.index import Application, PolicyIndex
from authd.tokens import MachineToken, VerifiedToken
from authd.urls import decode_path, is_ambiguous_path, readings_of


@quick_init
@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision and what it rests on. `is_cacheable` if on nothing but what stands in nginx' cache key.

    `expires_at` is when the credential ends by today's policies, in Unix seconds, or what the application is `shown`.
    """

    decision: Decision
    application: Application | None = None
    credential: Credential = NOBODY
    index: PolicyIndex | None = None
    is_cacheable: bool = False
    expires_at: float = inf
    renewal: Renewal = NO_RENEWAL
    shown: MachineToken | None = None

    @property
    def session(self) -> Session | None:
        """The session that the decision is about."""
        return self.credential.session


class Access:
    """Answers the check. One for each worker; `index` is asked each time, so that a reload needs no restart."""

    def __init__(
        self,
        *,
        index: Callable[[], PolicyIndex],
        credentials: Credentials,
        application_tokens: ApplicationTokens,
        machine_tokens: MachineTokens,
        clock: Callable[[], float],
        decision_cache_seconds: int,
    ) -> None:
        self._index = index
        self._credentials = credentials
        self._application_tokens = application_tokens
        self._machine_tokens = machine_tokens
        self._clock = clock
        self._decision_cache_seconds = decision_cache_seconds

    async def check(self, request: CheckRequest) -> Verdict:
        """Decide one request. Raises StoreError if the session cannot be looked up, IssuerUnavailableError if the keys
        of another edge cannot."""
        index = self._index()
        application = locate(index, request)
        if isinstance(application, Decision):
            return Verdict(application)
        if request.is_preflight and application.options_preflight_bypass:
            return Verdict(Decision(Outcome.BYPASS, Reason.PREFLIGHT_BYPASS, application.id), application)
        # Before any credential: a broken token or store must not close what is open without a login.
        anonymous = decide(application, request.facts) if _may_open_without_login(application) else None
        if anonymous and anonymous.outcome is Outcome.BYPASS:
            return self._let_in_unknown(anonymous, request, application, index)
        service_token = await self._credentials.find_service_token(request, application)
        if service_token:
            return self._decide_on_machine(request, application, index, service_token)
        if anonymous and anonymous.outcome is Outcome.ALLOW:
            return self._let_in_unknown(anonymous, request, application, index)
        credential = await self._credentials.find(request, application)
        if not credential.is_somebody:
            return Verdict(_refuse(application, request.facts, credential), application, credential)
        identity = credential.identity
        if identity and identity.source not in application.sources:
            unwelcome = replace(credential, reason=Reason.PROVIDER_NOT_ALLOWED)
            return Verdict(_refuse(application, request.facts, unwelcome), application)
        decision = decide(application, request.facts.about(identity, credential.machine))
        if decision.reason is Reason.NO_POLICY_MATCHED and _lacks_evaluations(application, identity):
            # A rule of that kind is newer than the login: the way through the team host asks.
            unasked = replace(credential, reason=Reason.EVALUATION_MISSING)
            return Verdict(_refuse(application, request.facts, unasked), application, credential)
        if decision.outcome is Outcome.ALLOW:
            return self._judge_age(request, application, index, credential, decision)
        is_cacheable = credential.is_keyed and _is_scope_fine(index, request)
        return Verdict(decision, application, credential, index, is_cacheable)

    def _let_in_unknown(
        self, decision: Decision, request: CheckRequest, application: Application, index: PolicyIndex
    ) -> Verdict:
        """Whom a policy lets in without asking who it is. The application is told whose certificate was shown."""
        # An outsider could fill the cache with addresses that are open to all: the host's alone.
        is_cacheable = index.decision_scope(request.url.host) == "host"
        machine = machine_of_certificate(request.facts.certificate, index.certificate_issuers)
        if machine is None or decision.outcome is not Outcome.ALLOW:
            return Verdict(decision, application, is_cacheable=is_cacheable)
        credential = Credential(None, Reason.POLICY_ALLOW, is_keyed=True, machine=machine)
        expires_at = self._clock() + decision.session_seconds
        return self._show(Verdict(decision, application, credential, index, is_cacheable, expires_at), application)

    def _decide_on_machine(
        self, request: CheckRequest, application: Application, index: PolicyIndex, credential: Credential
    ) -> Verdict:
        machine, verified = credential.machine, credential.verified
        if machine is None or verified is None:
            return Verdict(Decision(Outcome.LOGIN, credential.reason, application.id), application, credential)
        decision = decide(application, request.facts.about(None, machine))
        if decision.outcome is not Outcome.ALLOW:
            return Verdict(decision, application, credential)
        is_cacheable = _is_scope_fine(index, request)
        verdict = Verdict(decision, application, credential, index, is_cacheable, verified.expires_at)
        return self._show(verdict, application)

    def _judge_age(
        self,
        request: CheckRequest,
        application: Application,
        index: PolicyIndex,
        credential: Credential,
        decision: Decision,
    ) -> Verdict:
        """Somebody may pass: is their token young enough for the policy that says so, and is it time for the next?"""
        verified, session = credential.verified, credential.session
        is_cacheable = credential.is_keyed and _is_scope_fine(index, request)
        if verified is None:
            return Verdict(decision, application, credential, index, is_cacheable)
        if session is None or not isinstance(verified, VerifiedToken):
            verdict = Verdict(decision, application, credential, index, is_cacheable, verified.expires_at)
            return self._show(verdict, application)
        expires_at = min(verified.expires_at, verified.issued_at + decision.session_seconds)
        if expires_at <= self._clock():
            too_old = replace(credential, reason=Reason.TOKEN_EXPIRED)
            return Verdict(_refuse(application, request.facts, too_old), application)
        renewal = NO_RENEWAL
        if credential.is_cookie:
            renewal = self._application_tokens.renew(
                verified, session, application, decision, team_session_ends_at=index.team_session_ends_at(session)
            )
        is_cacheable = is_cacheable and renewal.issued is None
        return Verdict(decision, application, credential, index, is_cacheable, expires_at, renewal)

    def _show(self, verdict: Verdict, application: Application) -> Verdict:
        """Of a machine the application is shown a token of ours; an edge's own passes as it came, and where only an
        edge's count it is shown none of ours."""
        credential = verdict.credential
        if application.issuer or credential.machine is None or (credential.token and not credential.is_bearer):
            return verdict
        shown = self._machine_tokens.issue(
            credential.machine.name,
            audience=application.aud,
            until=int(verdict.expires_at),
            duration_seconds=verdict.decision.session_seconds,
        )
        credential = replace(credential, token=shown.text)
        return replace(verdict, credential=credential, shown=shown, expires_at=shown.expires_at)

    def still_holds(self, verdict: Verdict) -> bool:
        """Whether the very same request would be let in again, by the same policies and credential. Asks nobody."""
        return (
            verdict.index is self._index()
            and min(verdict.expires_at, verdict.renewal.look_again_at) > self._clock()
            and self._credentials.still_holds(verdict.credential)
            and (verdict.shown is None or self._machine_tokens.is_fresh(verdict.shown))
        )

    def cacheable_until(self, verdict: Verdict) -> int:
        """Until when nginx may give this answer again, 0 for never: an absolute Unix time, since plain seconds live up
        to one longer."""
        if not verdict.is_cacheable or not self._decision_cache_seconds:
            return 0
        until = int(self._clock()) + self._decision_cache_seconds - 1
        return int(min(until, verdict.expires_at - 1, verdict.renewal.look_again_at))

    async def find_session(self, request: CheckRequest, application: Application) -> Session | None:
        """Who asks, without deciding anything: for get-identity and logout. Raises StoreError."""
        return (await self._credentials.find(request, application)).session


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


def _lacks_evaluations(application: Application, identity: Identity | None) -> bool:
    return identity is not None and any(rule.key not in identity.evaluations for rule in application.evaluations)


def _may_open_without_login(application: Application) -> bool:
    """Whether a policy could let somebody in whom nobody knows. Those stand first (`Application.policies`)."""
    return bool(application.policies) and application.policies[0].decision in ("bypass", "non_identity")


def _refuse(application: Application, facts: Facts, credential: Credential) -> Decision:
    """What becomes of a visitor without a usable credential: a login, where one could help, says what was wrong."""
    reason = credential.reason
    if reason is Reason.CONFLICTING_SESSIONS:
        return Decision(Outcome.DENY, reason, application.id)
    if credential.is_bearer:
        # 401 whatever the policies: a machine has to know that its token is bad, and not that it is not welcome.
        return Decision(Outcome.LOGIN, reason, application.id)
    anonymous = decide(application, facts)
    if anonymous.outcome is not Outcome.LOGIN:
        return anonymous
    return Decision(Outcome.LOGIN, reason, application.id)
