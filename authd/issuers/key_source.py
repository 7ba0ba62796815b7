"""The keys of another issuer, as one worker has them: renewed in the background, and kept over outages and restarts.

No visitor waits for a fetch, but for one case: a token of a key that nobody here has seen. Then the issuer is asked out
of turn, within what nginx waits, and at most once in 30 seconds over all workers, since anybody can write such a token.
Workers leave what they fetched in the store for the others and for the next start. Only a good key set ever takes
the place of a good one; the last good one counts for a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from authd.audit import log_event
from authd.config import Authorities
from authd.errors import IssuerUnavailableError, KeySetError, ProviderError, StoreError, TokenError
from authd.idp.discovery import MAX_METADATA_BYTES, discovery_url, parse_jwks_uri
from authd.idp.http import ProviderHttp
from authd.jose import KeySet, UnverifiedToken, VerificationKey, parse_key_set
from authd.jose.key_sets import MAX_KEY_SET_BYTES
from authd.model import Reason

# A key that the issuer retires before its time is trusted here for that long, and some seconds more.
FRESH_SECONDS = 600
USABLE_SECONDS = 24 * 3600
# Over all workers, whatever they are asked for.
FETCH_SECONDS = 30
# nginx waits two seconds for a check. Meanwhile another worker may be fetching.
_LOOK_DEADLINE_SECONDS = 1.5
_WAIT_STEPS, _WAIT_STEPS_AT_START, _WAIT_STEP_SECONDS = 12, 4, 0.1
# Between two looks at whether a renewal is due that did not come about.
_AGAIN_SECONDS, _AGAIN_WITHOUT_KEYS_SECONDS = 10, 1


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where an issuer publishes its keys: at `url`, or, without one, where its discovery document says.

    `authorities` vouch for that host instead of the system's; `algorithms` are those that may verify.
    """

    issuer: str
    url: str | None
    authorities: Authorities | None
    algorithms: frozenset[str]

    @property
    def name(self) -> str:
        """Under which workers share what they fetched."""
        return self.url or discovery_url(self.issuer)


class SharedKeySets(Protocol):
    """Where workers leave what they fetched. What it returns must be what one of them left. Raises StoreError."""

    async def find_key_set(self, name: str) -> tuple[int, bytes] | None:
        """When the document left last was fetched (Unix seconds), and the document."""

    async def leave_key_set(self, name: str, fetched_at: int, document: bytes, *, expires_at: int) -> None:
        """Leave a document for the other workers and for the next start."""


@dataclass(frozen=True, slots=True)
class _Published:
    """`fetched_at` is Unix seconds; age is counted from `since`, which is monotonic."""

    document: bytes
    keys: KeySet
    fetched_at: int
    since: float


class KeySource:
    """One issuer's keys. `tend` begins what is due. `may_fetch` says yes once in FETCH_SECONDS over all workers, for
    each name that it is asked about.
    """

    def __init__(
        self,
        place: KeyPlace,
        *,
        shared: SharedKeySets,
        may_fetch: Callable[[str], Awaitable[bool]],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.place = place
        self._shared = shared
        self._may_fetch = may_fetch
        self._clock = clock
        self._monotonic = monotonic
        self._http = ProviderHttp(place.issuer, authorities=place.authorities.pem if place.authorities else None)
        self._published: _Published | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._renew_at = float("-inf")
        self._look: asyncio.Task[None] | None = None
        self._looked_in_vain_at = float("-inf")
        self._fetched_at = float("-inf")
        self._failure = ""

    @property
    def age_seconds(self) -> float:
        """How old the keys are, infinite without any."""
        return self._monotonic() - self._published.since if self._published else float("inf")

    def tend(self) -> None:
        """Begin a renewal if one is due. Call it often; it waits for nothing."""
        if self._renewal is None and self._monotonic() >= self._renew_at:
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(self._finish_renewal)

    async def find_key(self, token: UnverifiedToken) -> VerificationKey:
        """The key that a token names.

        Raises TokenError (`token_key_unknown`) if the issuer does not publish it, IssuerUnavailableError or StoreError
        if nobody can say.
        """
        key = self._find(token)
        if key is None:
            await self._look_again(token)
            key = self._find(token)
        if key is None and self.age_seconds >= USABLE_SECONDS:
            raise IssuerUnavailableError(self.place.issuer)
        if key is None:
            raise TokenError(Reason.TOKEN_KEY_UNKNOWN, "the issuer publishes no key of the token's key id")
        return key

    def still_has(self, key: VerificationKey) -> bool:
        """Whether a key that was found before still counts. Asks nobody."""
        if self._published is None or key.key_id is None or self.age_seconds >= USABLE_SECONDS:
            return False
        return self._published.keys.find(key.key_id, key.algorithm) == key

    def close(self) -> None:
        """Fetch no more."""
        self._http.close()
        for task in (self._renewal, self._look):
            if task:
                task.cancel()

    def _find(self, token: UnverifiedToken) -> VerificationKey | None:
        if self._published is None or token.key_id is None or self.age_seconds >= USABLE_SECONDS:
            return None
        return self._published.keys.find(token.key_id, token.algorithm)

    async def _renew(self) -> None:
        if await self._may_renew():
            await self._fetch()

    def _finish_renewal(self, task: asyncio.Task[None]) -> None:
        self._renewal = None
        # Not fresh by now: the fetch failed, or another worker is at it.
        again = _AGAIN_SECONDS if self._published else _AGAIN_WITHOUT_KEYS_SECONDS
        self._renew_at = self._monotonic() + max(FRESH_SECONDS - self.age_seconds, again)
        _log_unforeseen(task)

    async def _may_renew(self) -> bool:
        try:
            await self._take_shared()
            return self.age_seconds >= FRESH_SECONDS and await self._may_fetch(f"renew {self.place.name}")
        except StoreError:
            # Without the store nobody counts for all of us: each for itself, and as rarely.
            is_due = self._monotonic() - self._fetched_at >= FETCH_SECONDS
            return is_due and self.age_seconds >= FRESH_SECONDS

    async def _look_again(self, token: UnverifiedToken) -> None:
        """All who wait share one look. After one in vain, unknown keys are simply unknown for a while. Raises
        StoreError."""
        if self._look is None:
            if self._monotonic() - self._looked_in_vain_at < FETCH_SECONDS:
                return
            self._look = asyncio.create_task(self._find_newer(token))
            self._look.add_done_callback(self._finish_look)
        try:
            async with asyncio.timeout(_LOOK_DEADLINE_SECONDS):
                await asyncio.shield(self._look)
        except TimeoutError:
            return

    async def _find_newer(self, token: UnverifiedToken) -> None:
        await self._take_shared()
        if self._published is None:
            # At the very start. Somebody is fetching already, here or in another worker.
            await self._wait_for_others(token, _WAIT_STEPS_AT_START)
        # Counted apart from renewals: a rotation may follow one at once.
        if self._find(token) is None and await self._may_fetch(f"look {self.place.name}"):
            await self._fetch()
        else:
            await self._wait_for_others(token, _WAIT_STEPS)
        if self._find(token) is None:
            self._looked_in_vain_at = self._monotonic()

    async def _wait_for_others(self, token: UnverifiedToken, steps: int) -> None:
        for _ in range(steps):
            if self._find(token):
                return
            await asyncio.sleep(_WAIT_STEP_SECONDS)
            await self._take_shared()

    def _finish_look(self, task: asyncio.Task[None]) -> None:
        # A store that could not say is asked again with the next token.
        self._look = None
        _log_unforeseen(task)

    async def _take_shared(self) -> None:
        """Take what another worker, or an earlier run, left, unless ours is younger. Raises StoreError."""
        found = await self._shared.find_key_set(self.place.name)
        ours = self._published
        if found is None or (ours and found == (ours.fetched_at, ours.document)):
            return
        # A clock that was wrong may have written a time to come. And times are whole seconds.
        age_seconds = max(0.0, self._clock() - found[0])
        if age_seconds > self.age_seconds + 1:
            return
        try:
            self._keep(*found, age_seconds)
        except KeySetError as error:
            self._report(str(error), "key_set_invalid")

    async def _fetch(self) -> None:
        """Ask the issuer. Whatever is wrong with the answer changes nothing but the log."""
        self._fetched_at = self._monotonic()
        try:
            document = await self._fetch_document()
            fetched_at = int(self._clock())
            self._keep(fetched_at, document, 0.0)
        except ProviderError as error:
            return self._report(error.sentence, error.cause)
        except KeySetError as error:
            return self._report(str(error), "key_set_invalid")
        self._failure = ""
        try:
            expires_at = fetched_at + USABLE_SECONDS
            await self._shared.leave_key_set(self.place.name, fetched_at, document, expires_at=expires_at)
        except StoreError:
            return None  # they are here; other workers fetch for themselves
        return None

    async def _fetch_document(self) -> bytes:
        url = self.place.url
        if url is None:
            where = discovery_url(self.place.issuer)
            answer = await self._http.get("discovery document", where, max_bytes=MAX_METADATA_BYTES)
            try:
                url = parse_jwks_uri(answer.body, issuer=self.place.issuer)
            except ValueError as error:
                raise KeySetError(f"the discovery document {error}") from None
        answer = await self._http.get("key set", url, max_bytes=MAX_KEY_SET_BYTES)
        difference = answer.clock_difference_seconds(self._clock())
        if difference:
            log_event("issuer.clock_differs", level="warning", issuer=self.place.issuer, ahead_by_seconds=difference)
        return answer.body

    def _keep(self, fetched_at: int, document: bytes, age_seconds: float) -> None:
        """Raises KeySetError, and keeps what it has, if the document is not fit to be trusted."""
        keys = parse_key_set(document, algorithms=self.place.algorithms)
        if self._published and self._published.keys == keys:
            # The same objects: each check compares the key that it remembers, and two of equal numbers take a while.
            keys = self._published.keys
        else:
            names = [key.key_id for key in keys.keys]
            log_event("issuer.keys_changed", issuer=self.place.issuer, kids=names, skipped=list(keys.skipped) or None)
        self._published = _Published(document, keys, fetched_at, self._monotonic() - age_seconds)

    def _report(self, sentence: str, cause: str) -> None:
        """Once for each cause, until a fetch succeeds: an outage of hours is one line."""
        if cause != self._failure:
            self._failure = cause
            age_seconds = int(self.age_seconds) if self._published else None
            log_event(
                "issuer.keys_not_renewed",
                level="warning",
                issuer=self.place.issuer,
                cause=cause,
                message=sentence,
                age_seconds=age_seconds,
            )


def _log_unforeseen(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error and not isinstance(error, StoreError):
        log_event("error.unhandled", level="error", error=type(error).__name__)
