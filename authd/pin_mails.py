"""Codes by mail, sent behind the visitor's back: all that depends on whether an address could be let in is done here.

Nobody waits for it, and it begins at a moment that says nothing, so that neither the answers nor their times tell who
could be let in (docs/adr/0100). A mail is in the hands of one worker until the mail server has taken it: whoever gets
none asks again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from authd.attempts import Attempt
from authd.audit import log_event
from authd.errors import MailError, StoreError
from authd.idp.code_mail import CodeMail
from authd.idp.onetimepin import OneTimePinProvider
from authd.in_force import Policies
from authd.limits import Allowance, CodeLimits, wide_network_of
from authd.metrics import Metrics
from authd.model import Facts
from authd.pin_requests import CODE_SECONDS, PinRequest
from authd.policy.prospects import could_admit
from authd.state.pin_rows import PinRows
from authd.state.records import PinCode, Records
from authd.urls import encode_parameter

# Mails that a worker has in hand at once, those included that wait for another try.
MAX_PENDING = 200
RETRY_SECONDS = (0, 5, 20, 60)
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


class PinMails:
    """Makes codes and sends them. One for each worker and its event loop."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        records: Records,
        rows: PinRows,
        limits: CodeLimits,
        metrics: Metrics,
        clock: Callable[[], float],
        new_id: Callable[[int], str],
        new_code: Callable[[int], str] = lambda digits: f"{secrets.randbelow(10**digits):0{digits}d}",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._policies = policies
        self._records = records
        self._rows = rows
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._new_id = new_id
        self._new_code = new_code
        self._sleep = sleep
        self._pending: set[asyncio.Task[None]] = set()

    def send_later(self, order: Order) -> None:
        """Send a code if somebody of that address could be let in, and limits allow it. Returns at once."""
        if len(self._pending) >= MAX_PENDING:
            return self._report_unsent(order, "busy")
        task = asyncio.get_running_loop().create_task(self._send_or_report(order))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return None

    async def settle(self) -> None:
        """Wait until everything in hand has come to an end."""
        while self._pending:
            await asyncio.wait(self._pending)

    def close(self) -> None:
        """Give up what is in hand."""
        for task in self._pending:
            task.cancel()

    async def _send_or_report(self, order: Order) -> None:
        try:
            await self._sleep(secrets.randbelow(_LONGEST_DELAY_MS) / 1000)
            allowance = await self._allow(order)
            if allowance.exceeded:
                return self._report_unsent(order, allowance.exceeded)
            await self._send(order, allowance.digits)
        except (MailError, StoreError) as error:
            cause = error.cause if isinstance(error, MailError) else error.code
            self._report("pin.mail_failed", order, "failed", level="error", cause=cause, message=str(error))
        except Exception as error:  # noqa: BLE001 - nobody waits for this task, and its error would be lost
            self._metrics.count_code_mail(order.attempt.provider_id, "failed")
            log_event("error.unhandled", level="error", exc_info=True, error=type(error).__name__)

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

    async def _send(self, order: Order, digits: int) -> None:
        code, key = self._new_code(digits), self._new_id(KEY_CHARACTERS)
        request = order.request
        pin = PinCode(
            provider_id=order.attempt.provider_id,
            attempt_id=request.attempt_id,
            email=request.email,
            code_hash=request.hash_code(code),
            key_hash=request.hash_key(key),
            expires_at=request.expires_at,
        )
        await self._records.add_pin(request.id, pin)
        await self._hand_over(order, self._write(order, code, key))
        self._report("pin.mail_sent", order, "sent")

    def _write(self, order: Order, code: str, key: str) -> CodeMail:
        application = self._policies().index.find_by_id(order.attempt.application_id)
        page_url = self._get_provider(order).page_url(order.attempt.state)
        return CodeMail(
            code=code,
            link=f"{page_url}&key={encode_parameter(key)}",
            application_name=application.name if application else order.attempt.host,
            host=order.attempt.host,
            client_ip=str(order.facts.client_ip),
            valid_minutes=CODE_SECONDS // 60,
        )

    async def _hand_over(self, order: Order, mail: CodeMail) -> None:
        """Try a few times. Raises the last MailError."""
        for position, seconds in enumerate(RETRY_SECONDS, start=1):
            await self._sleep(seconds)
            try:
                # Asked for each time: a reload may have brought another mail server.
                return await self._get_provider(order).send(mail, order.request.email)
            except MailError as error:
                if error.is_lasting or position == len(RETRY_SECONDS):
                    raise
                self._report("pin.mail_delayed", order, None, level="warning", cause=error.cause, message=str(error))
        return None

    def _get_provider(self, order: Order) -> OneTimePinProvider:
        provider = self._policies().providers.get(order.attempt.provider_id)
        if not isinstance(provider, OneTimePinProvider):
            raise MailError("closed", "the identity provider was removed by a reload", is_lasting=True)
        return provider

    def _report_unsent(self, order: Order, reason: str) -> None:
        # A warning, since of those the log leaves out what is too many: anybody can ask for any address.
        self._report("pin.not_sent", order, "not_sent", level="warning", reason=reason)

    def _report(self, event: str, order: Order, outcome: str | None, *, level: str = "info", **fields: Any) -> None:
        attempt = order.attempt
        if outcome:
            self._metrics.count_code_mail(attempt.provider_id, outcome)
        fields |= {"idp": attempt.provider_id, "app": attempt.application_id, "email": order.request.email}
        log_event(event, level=level, **fields)
