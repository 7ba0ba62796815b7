"""Mails with codes, kept in the store until a mail server has taken them: a restart loses none.

Each is tried by one worker at a time, which says so in its row before it tries. Rows whose time has come and that
nobody tries belonged to a worker that is gone, and the first that sees one takes it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from authd.audit import log_event
from authd.errors import MailError, StoreError
from authd.idp.code_mail import CodeMail
from authd.idp.onetimepin import OneTimePinProvider
from authd.in_force import Policies
from authd.metrics import Metrics
from authd.state.pin_rows import PinRows, WaitingMail

# Mails that a worker has in hand at once, those included that wait for another try.
MAX_PENDING = 200
# Between one try and the next.
RETRY_SECONDS = (5, 20, 60)
# A try takes 20 seconds at most (`mail.DEADLINE_SECONDS`).
_LEASE_SECONDS = 30
# Whoever waits for the next try wakes up in time, but for a busy machine and another machine's clock.
_LATE_SECONDS = 3
_LOOK_SECONDS = 5
STOP_SECONDS = 5.0


class About(Protocol):
    """What log and metrics say of a mail."""

    @property
    def provider_id(self) -> str: ...
    @property
    def application_id(self) -> str: ...
    @property
    def email(self) -> str: ...


class PinOutbox:
    """One for each worker and its event loop."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        rows: PinRows,
        metrics: Metrics,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._policies = policies
        self._rows = rows
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._stopping = asyncio.Event()
        self._next_look = 0

    @property
    def is_full(self) -> bool:
        """Whether this worker has as many mails in hand as it takes."""
        return len(self._tasks) >= MAX_PENDING

    def start(self, id_: str, about: About, work: Callable[[], Awaitable[None]]) -> None:
        """Do this about a mail while nobody waits, and report what comes of it. `id_` is that of its row."""
        task = asyncio.get_running_loop().create_task(self._work_or_report(about, work))
        self._tasks[task] = id_
        task.add_done_callback(self._tasks.pop)

    async def send(self, id_: str, mail: WaitingMail) -> None:
        """Keep a mail until a server has taken it, and hand it over. Raises MailError if it is given up, StoreError."""
        await self._rows.put_mail(id_, mail)
        await self._hand_over(id_, mail)

    async def adopt(self) -> None:
        """Now and then: take over mails whose worker is gone, if anybody logs in by mail. Raises StoreError."""
        now = int(self._clock())
        # The second half is for a clock that was set back.
        if now < self._next_look <= now + _LOOK_SECONDS or not self._has_provider:
            return
        self._next_look = now + _LOOK_SECONDS
        for id_, mail in await self._rows.list_mails(now=now):
            is_nobodys = id_ not in self._tasks.values() and mail.due_at + _LATE_SECONDS < now
            if is_nobodys and not self.is_full and not self._stopping.is_set():
                self.start(id_, mail, functools.partial(self._hand_over, id_, mail))

    async def pause(self, seconds: float) -> None:
        """Wait so long, and no longer than until `stop`."""
        if self._stopping.is_set():
            return
        waiting = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def settle(self) -> None:
        """Wait until everything in hand has come to an end."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def stop(self) -> None:
        """Try what is new at once, leave to others what waits, and give up what is still under way after a while."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=STOP_SECONDS)
        self.close()

    def close(self) -> None:
        """Let go of what is in hand. Its rows stay."""
        for task in list(self._tasks):
            task.cancel()

    def report(self, event: str, about: About, outcome: str | None, *, level: str = "info", **fields: Any) -> None:
        """A line in the log, and with an `outcome` a count."""
        if outcome:
            self._metrics.count_code_mail(about.provider_id, outcome)
        fields |= {"idp": about.provider_id, "app": about.application_id, "email": about.email}
        log_event(event, level=level, **fields)

    async def _work_or_report(self, about: About, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (MailError, StoreError) as error:
            cause = error.cause if isinstance(error, MailError) else error.code
            self.report("pin.mail_failed", about, "failed", level="error", cause=cause, message=str(error))
        except Exception as error:  # noqa: BLE001 - nobody waits for this task, and its error would be lost
            self._metrics.count_code_mail(about.provider_id, "failed")
            log_event("error.unhandled", level="error", exc_info=True, error=type(error).__name__)

    async def _hand_over(self, id_: str, mail: WaitingMail) -> None:
        """Try a few times. Raises the last MailError, StoreError."""
        later: WaitingMail | None = mail
        while later is not None:
            later = await self._try(id_, later)
            if later is not None:
                await self.pause(later.due_at - int(self._clock()))
                later = None if self._stopping.is_set() else later

    async def _try(self, id_: str, mail: WaitingMail) -> WaitingMail | None:
        """One try; what is to be tried again, None if nothing is."""
        now = int(self._clock())
        claimed = replace(mail, tries=mail.tries + 1, due_at=now + _LEASE_SECONDS)
        if not await self._rows.replace_mail(id_, mail, claimed, now=now):
            # Another worker was faster, or the code is too old by now.
            return None
        try:
            # Asked for each time: a reload may have brought another mail server.
            await self._get_provider(mail.provider_id).send(CodeMail(**mail.content), mail.email)
        except MailError as error:
            return await self._put_off(id_, claimed, error)
        self.report("pin.mail_sent", mail, "sent")
        # The worst that a store can do here is to have it sent twice.
        with contextlib.suppress(StoreError):
            await self._rows.take_mail(id_, now=now)
        return None

    async def _put_off(self, id_: str, claimed: WaitingMail, error: MailError) -> WaitingMail:
        """Until the next try. Raises `error` if there is none, StoreError."""
        now = int(self._clock())
        if error.is_lasting or claimed.tries > len(RETRY_SECONDS):
            await self._rows.take_mail(id_, now=now)
            raise error
        self.report("pin.mail_delayed", claimed, None, level="warning", cause=error.cause, message=str(error))
        later = replace(claimed, due_at=now + RETRY_SECONDS[claimed.tries - 1])
        await self._rows.replace_mail(id_, claimed, later, now=now)
        return later

    @property
    def _has_provider(self) -> bool:
        return any(isinstance(each, OneTimePinProvider) for each in self._policies().providers.values())

    def _get_provider(self, provider_id: str) -> OneTimePinProvider:
        provider = self._policies().providers.get(provider_id)
        if not isinstance(provider, OneTimePinProvider):
            raise MailError("closed", "the identity provider was removed by a reload", is_lasting=True)
        return provider
