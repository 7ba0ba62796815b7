"""The signing keys as one worker sees them: the store's word, remembered, since every request needs a key.

Workers follow one another in three ways: each minute all of them read the keyring (and whoever comes first renews it);
a token of a key that this worker does not know yet makes it look at once; and a key that was retired is dropped as soon
as the poll sees its tombstone, twice a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from authd.audit import log_event
from authd.errors import StoreUnavailableError
from authd.keys import Keyring
from authd.rotation import renew_keyring, without_key
from authd.state.base import Tombstone
from authd.state.records import KEY, Records

# A flood of invented key ids costs four small reads a second, and whoever brings a new key's token waits no longer.
LOOK_SECONDS = 0.25
_KEY_ID = re.compile("[0-9a-f]{64}")


class SharedKeyring:
    """Call `refresh` at start, each minute, and when `is_stale`; hand `follow` every tombstone."""

    def __init__(
        self,
        records: Records,
        *,
        team_domain: str,
        longest_token_seconds: Callable[[], int],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._records = records
        self._team_domain = team_domain
        self._longest_token_seconds = longest_token_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._keyring: Keyring | None = None
        self._retired: set[str] = set()
        self._looked_at = -LOOK_SECONDS
        self._look: asyncio.Task[None] | None = None
        # One at a time, so that a slow answer cannot undo a later one.
        self._reading = asyncio.Lock()
        self.is_stale = True

    @property
    def is_loaded(self) -> bool:
        """Whether there is a key to sign with."""
        return self._keyring is not None

    def get(self) -> Keyring:
        """The keys that count. Raises StoreUnavailableError until they could be read once."""
        if self._keyring is None:
            raise StoreUnavailableError("the signing keys could not be read from the store yet")
        return self._keyring

    async def refresh(self) -> Keyring:
        """Read the keyring, and renew it if that is due and nobody did. Raises StoreError; what was known stays."""
        now, longest = int(self._clock()), self._longest_token_seconds()

        def renew(keyring: Keyring) -> Keyring:
            return renew_keyring(keyring, team_domain=self._team_domain, now=now, longest_token_seconds=longest)

        async with self._reading:
            if self._keyring is None:
                # A store that takes no writes, where one is due, still tells the keys.
                self._take(await self._records.load_keyring(team_domain=self._team_domain, now=now))
            self._take(await self._records.change_keyring(renew, team_domain=self._team_domain, now=now))
        return self.get()

    async def learn(self, unverified_key_id: str) -> None:
        """Look into the store for a key that is not known here, within LOOK_SECONDS. Raises StoreError.

        The look begins after this call, so it sees every key that signed anything before. All who wait share it.
        """
        if not _KEY_ID.fullmatch(unverified_key_id) or unverified_key_id in self._retired:
            return
        if self._look is None:
            self._look = asyncio.create_task(self._look_soon())
        await asyncio.shield(self._look)

    def follow(self, tombstone: Tombstone) -> None:
        """Drop a key that was retired: what it signed is refused from here on. `refresh` brings its successor."""
        if tombstone.kind != KEY:
            return
        self._retired.add(tombstone.id)
        self.is_stale = True
        log_event("key.retired", level="warning", kid=tombstone.id)
        if self._keyring:
            self._keyring = without_key(self._keyring, tombstone.id, now=int(self._clock()))

    async def _look_soon(self) -> None:
        try:
            await asyncio.sleep(self._looked_at + LOOK_SECONDS - self._monotonic())
        finally:
            # Whoever comes from here on may bring a key that this look is too early for.
            self._look = None
        self._looked_at = self._monotonic()
        async with self._reading:
            self._take(await self._records.load_keyring(team_domain=self._team_domain, now=int(self._clock())))

    def _take(self, keyring: Keyring) -> None:
        known, self._keyring = self._keyring, keyring
        for key_id in self._retired:
            # Read before the retirement, or restored from a backup.
            if self._keyring:
                self._keyring = without_key(self._keyring, key_id, now=int(self._clock()))
        self.is_stale = self._keyring is None
        if known and self._keyring and _ids(known) != _ids(self._keyring):
            signing = self._keyring.signing_key(self._clock()).key_id
            log_event("key.changed", signing=signing, kids=_ids(self._keyring))


def _ids(keyring: Keyring) -> list[str]:
    return [key.key_id for key in keyring.keys]
