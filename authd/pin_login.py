"""Who is this, if all that they have is a mail address? The steps between `Login.start` and `Login.complete`.

    show     the page that asks for an address, or for the code
    ask      an address was given: a code is sent, if somebody of that address could be let in at all
    resend   once more, with another code
    verify   a code, or the key of the mail's link, becomes an identity

Nobody learns from the answers whether an address could be let in: see `pin_mails` and docs/adr/0100.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace

from authd.attempts import Attempt, Attempts
from authd.audit import log_event
from authd.errors import LoginError
from authd.idp.onetimepin import OneTimePinProvider
from authd.in_force import Policies
from authd.limits import CodeLimits, LoginLimits, wide_network_of
from authd.login import Login, configuration_changed
from authd.login_steps import AskAddress, AskCode, Client, Denied, Elsewhere, Redirect
from authd.metrics import Metrics
from authd.model import Vouched
from authd.pin_mails import KEY_CHARACTERS, Order, PinMails
from authd.pin_requests import CODE_SECONDS, KNOWN_SECONDS, KnownBrowser, PinRequest, PinRequests, find_code
from authd.policy.index import Application
from authd.state.pin_rows import PinRows
from authd.state.records import PinCode, Records
from authd.urls import find_single, parse_query

MAX_TRIES = 5
ATTEMPT_AFTER_CODE_SECONDS = 3 * CODE_SECONDS
_NO_ADDRESS = "This is no e-mail address that a code can be sent to."
_TOO_OLD = "The code is too old by now. Ask for a new one."
_WRONG = "That code is wrong, too old or used, or this address has no access. Only the newest code counts."
_EXHAUSTED = "There were too many wrong codes. Ask for a new one."


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an attempt of this browser is about."""

    attempt: Attempt
    provider: OneTimePinProvider
    application: Application

    def ask_address(self, mistake: str = "") -> AskAddress:
        attempt = self.attempt
        return AskAddress(self.application, attempt.host, self.provider.page_url(attempt.state), mistake)

    def ask_code(self, request: PinRequest, *, key: str = "", mistake: str = "", exhausted: bool = False) -> AskCode:
        return AskCode(
            self.application,
            self.attempt.host,
            page_url=self.provider.page_url(self.attempt.state),
            resend_url=self.provider.resend_url(self.attempt.state),
            email=request.email,
            key=key[:KEY_CHARACTERS],
            mistake=mistake,
            exhausted=exhausted,
        )


class PinLogin:
    """Logs people in by a code. One for each worker."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        login: Login,
        attempts: Attempts,
        requests: PinRequests,
        records: Records,
        rows: PinRows,
        mails: PinMails,
        login_limits: LoginLimits,
        code_limits: CodeLimits,
        metrics: Metrics,
        clock: Callable[[], float],
        new_id: Callable[[int], str],
    ) -> None:
        self._policies = policies
        self._login = login
        self._attempts = attempts
        self._requests = requests
        self._records = records
        self._rows = rows
        self._mails = mails
        self._login_limits = login_limits
        self._code_limits = code_limits
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id

    def show(self, unverified_query: str, client: Client) -> AskAddress | AskCode | Elsewhere:
        """Where this attempt stands. Changes nothing: programs that look into mails follow links too.

        Raises LoginError.
        """
        if self._login.find_attempt(unverified_query, client) is None:
            return Elsewhere()
        parts = self._get_parts(unverified_query, client)
        query = parse_query(unverified_query)
        request = self._requests.find(parts.attempt.id, client.cookie_header)
        if request is None or find_single(query, "again"):
            return parts.ask_address()
        return parts.ask_code(request, key=find_single(query, "key") or "")

    async def ask(self, unverified_query: str, unverified_address: str, client: Client) -> AskAddress | Redirect:
        """Send a code to an address, if that may be. Raises LoginError, StoreError."""
        parts = self._get_parts(unverified_query, client)
        address = parts.provider.read_address(unverified_address)
        return await self._order(address, parts, client) if address else parts.ask_address(_NO_ADDRESS)

    async def resend(self, unverified_query: str, client: Client) -> AskAddress | Redirect:
        """Send another code to the same address. Raises LoginError, StoreError."""
        parts = self._get_parts(unverified_query, client)
        request = self._requests.find(parts.attempt.id, client.cookie_header)
        return await self._order(request.email, parts, client) if request else parts.ask_address(_TOO_OLD)

    async def verify(
        self, unverified_query: str, unverified_code: str, unverified_key: str, client: Client
    ) -> AskAddress | AskCode | Redirect | Denied:
        """A code (or the link's key) that somebody came up with. Raises LoginError, StoreError.

        Every try is counted before anything is compared: however many come at once, no more than MAX_TRIES are.
        """
        parts = self._get_parts(unverified_query, client)
        request = self._requests.find(parts.attempt.id, client.cookie_header)
        if request is None:
            return parts.ask_address(_TOO_OLD)
        await self._login_limits.count_address(client.facts.client_ip)
        if await self._code_limits.count_try(request.id) > MAX_TRIES:
            return parts.ask_code(request, mistake=_EXHAUSTED, exhausted=True)
        pin = await self._records.find_pin(request.id, now=int(self._clock()))
        if pin is None or not _is_proved(pin, request, find_code(unverified_code) or "", unverified_key):
            self._report_wrong(parts.attempt, client)
            return parts.ask_code(request, mistake=_WRONG)
        return await self._complete(parts, request, pin, client)

    async def _complete(self, parts: _Parts, request: PinRequest, pin: PinCode, client: Client) -> Redirect | Denied:
        now, identity = int(self._clock()), parts.provider.identify(pin.email)
        # Before the code is spent: if the store fails here, it is still good.
        await self._rows.note_network(identity.subject, wide_network_of(client.facts.client_ip), now=now)

        async def identify() -> Vouched:
            if not await self._records.spend_pin(request.id, now=now):
                return_url = self._login.return_url(parts.attempt)
                raise LoginError("code_used", 400, "This code was used before.", return_url)
            return Vouched(identity)

        found = await self._login.complete(parts.attempt, client, identify)
        cookies = (self._requests.forget(parts.attempt.id), self._remember(pin, client))
        return replace(found, cookies=(*found.cookies, *cookies))

    def _remember(self, pin: PinCode, client: Client) -> str:
        known = self._requests.find_known(pin.provider_id, pin.email, client.cookie_header)
        id_ = known.id if known else self._new_id(16)
        expires_at = int(self._clock()) + KNOWN_SECONDS
        return self._requests.render_known(KnownBrowser(id_, pin.provider_id, pin.email, expires_at))

    async def _order(self, address: str, parts: _Parts, client: Client) -> Redirect:
        await self._code_limits.count_asking(client.facts.client_ip, parts.provider.config.code_rate_limit)
        now = int(self._clock())
        # The attempt outlives the code, so that whoever comes too late can ask for another one.
        attempt = replace(parts.attempt, expires_at=now + ATTEMPT_AFTER_CODE_SECONDS)
        request = PinRequest(self._new_id(32), attempt.id, address, self._new_id(32), now + CODE_SECONDS)
        known = self._requests.find_known(attempt.provider_id, address, client.cookie_header)
        self._mails.send_later(Order(attempt, request, client.facts, known.id if known else None))
        cookies = self._attempts.render_attempt(attempt, client.cookie_header)
        cookies += self._requests.render(request, client.cookie_header)
        return Redirect(parts.provider.page_url(attempt.state), tuple(cookies))

    def _get_parts(self, unverified_query: str, client: Client) -> _Parts:
        attempt = self._login.get_attempt(unverified_query, client)
        policies = self._policies()
        provider = policies.providers.get(attempt.provider_id)
        application = policies.index.find_by_id(attempt.application_id)
        if isinstance(provider, OneTimePinProvider) and application and provider.config.id in application.allowed_idps:
            return _Parts(attempt, provider, application)
        raise configuration_changed(self._login.return_url(attempt))

    def _report_wrong(self, attempt: Attempt, client: Client) -> None:
        """As a failed login. The address is left out: it may not be that of whoever typed it."""
        self._metrics.count_login(attempt.provider_id, "failed")
        log_event(
            "login.failed",
            level="warning",
            reason="code_wrong",
            idp=attempt.provider_id,
            app=attempt.application_id,
            ip=str(client.facts.client_ip),
        )


def _is_proved(pin: PinCode, request: PinRequest, code: str, unverified_key: str) -> bool:
    is_code = hmac.compare_digest(request.hash_code(code), pin.code_hash)
    is_key = hmac.compare_digest(request.hash_key(unverified_key), pin.key_hash)
    return (is_code or is_key) and (pin.attempt_id, pin.email) == (request.attempt_id, request.email)
