"""Codes by mail, sent behind the visitor's back: all that depends on whether an address could be let in is done here.

Nobody waits for it, and it begins at a moment that says nothing, so that neither the answers nor their times tell who
could be let in (docs/adr/0100). From then on the mail is the outbox's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass

from authd.attempts import Attempt
from authd.errors import MailError
from authd.idp.code_mail import CodeMail
from authd.idp.onetimepin import OneTimePinProvider
from authd.in_force import Policies
from authd.limits import Allowance, CodeLimits, wide_network_of
from authd.model import Facts
from authd.pin_outbox import PinOutbox
from authd.pin_requests import CODE_SECONDS, PinRequest
from authd.policy.prospects import could_admit
from authd.state.pin_rows import PinRows, WaitingMail
from authd.state.records import PinCode, Records
from authd.urls import encode_parameter

KEY_CHARACTERS = 22
_LONGEST_DELAY_MS = 500


@dataclass(frozen=True, slots=True)
class Order:
    """A code that somebody asked for, and where the request came from: `known_browser` is the id of a browser in
    which this very address has logged in before."""

    attempt: Attempt
    request: PinRequest
    facts: Facts
    known_browser: str | None = None

    @property
    def provider_id(self) -> str:
        return self.attempt.provider_id

    @property
    def application_id(self) -> str:
        return self.attempt.application_id

    @property
    def email(self) -> str:
        return self.request.email


class PinMails:
    """Makes codes and sends them. One for each worker and its event loop."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        records: Records,
        rows: PinRows,
        limits: CodeLimits,
        outbox: PinOutbox,
        clock: Callable[[], float],
        new_id: Callable[[int], str],
        new_code: Callable[[int], str] = lambda digits: f"{secrets.randbelow(10**digits):0{digits}d}",
    ) -> None:
        self._policies = policies
        self._records = records
        self._rows = rows
        self._clock = clock
        self._limits = limits
        self._outbox = outbox
        self._new_id = new_id
        self._new_code = new_code

    def send_later(self, order: Order) -> None:
        """Send a code if somebody of that address could be let in, and limits allow it. Returns at once."""
        if self._outbox.is_full:
            self._report_unsent(order, "busy")
        else:
            self._outbox.start(order.request.id, order, lambda: self._send(order))

    async def _send(self, order: Order) -> None:
        """Raises MailError, StoreError."""
        await self._outbox.pause(secrets.randbelow(_LONGEST_DELAY_MS) / 1000)
        allowance = await self._allow(order)
        if allowance.exceeded:
            return self._report_unsent(order, allowance.exceeded)
        code, key = self._new_code(allowance.digits), self._new_id(KEY_CHARACTERS)
        await self._records.add_pin(order.request.id, _make_pin(order, code, key))
        return await self._outbox.send(order.request.id, self._write(order, code, key))

    async def _allow(self, order: Order) -> Allowance:
        """Whether a code goes to this address, and if not, why."""
        provider = self._get_provider(order)
        application = self._policies().index.find_by_id(order.attempt.application_id)
        identity = provider.identify(order.request.email)
        if application is None or not could_admit(application, order.facts.about(identity)):
            return Allowance("not_admitted")
        network = wide_network_of(order.facts.client_ip)
        own_place = f"browser {order.known_browser}" if order.known_browser else None
        now = int(self._clock())
        if own_place is None and await self._rows.is_known_network(identity.subject, network, now=now):
            own_place = f"network {network}"
        return await self._limits.count_mail(
            identity.subject,
            provider.config.id,
            provider.config.code_rate_limit,
            network=network,
            own_place=own_place,
        )

    def _write(self, order: Order, code: str, key: str) -> WaitingMail:
        application = self._policies().index.find_by_id(order.application_id)
        page_url = self._get_provider(order).page_url(order.attempt.state)
        content = CodeMail(
            code=code,
            link=f"{page_url}&key={encode_parameter(key)}",
            application_name=application.name if application else order.attempt.host,
            host=order.attempt.host,
            client_ip=str(order.facts.client_ip),
            valid_minutes=CODE_SECONDS // 60,
        )
        return WaitingMail(
            provider_id=order.provider_id,
            application_id=order.application_id,
            email=order.email,
            content=asdict(content),
            due_at=int(self._clock()),
            expires_at=order.request.expires_at,
        )

    def _get_provider(self, order: Order) -> OneTimePinProvider:
        provider = self._policies().providers.get(order.provider_id)
        if not isinstance(provider, OneTimePinProvider):
            raise MailError("closed", "the identity provider was removed by a reload", is_lasting=True)
        return provider

    def _report_unsent(self, order: Order, reason: str) -> None:
        # A warning, since of those the log leaves out what is too many: anybody can ask for any address.
        self._outbox.report("pin.not_sent", order, "not_sent", level="warning", reason=reason)


def _make_pin(order: Order, code: str, key: str) -> PinCode:
    request = order.request
    return PinCode(
        provider_id=order.provider_id,
        attempt_id=request.attempt_id,
        email=request.email,
        code_hash=request.hash_code(code),
        key_hash=request.hash_key(key),
        expires_at=request.expires_at,
    )
