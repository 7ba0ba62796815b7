"""What `authd keys` does, beside workers that run: reads the keyring, and changes it so that all of them follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from authd.config import Config
from authd.errors import KeyChangeError, StoreUnavailableError
from authd.keys import PUBLISHED_BEFORE_SIGNING_SECONDS, Keyring, SigningKey
from authd.rotation import promote_key, renew_keyring, retire_key
from authd.sealing import load_sealer
from authd.state import Store, open_store
from authd.state.records import Records

_PATIENCE_SECONDS = 5.0
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A key as an operator sees it, without anything private. Times are Unix seconds.

    `state` is `signs`, `next` (published, signs from `signs_from`) or `verifies` (signed once).
    """

    key_id: str
    state: str
    created_at: int
    signs_from: int
    verifies_until: int

    def to_json(self) -> dict[str, str]:
        """For scripts: times in UTC as in RFC 3339."""
        return {
            "kid": self.key_id,
            "state": self.state,
            "created": render_time(self.created_at),
            "signs_from": render_time(self.signs_from),
            "verifies_until": render_time(self.verifies_until),
        }


def render_time(unix_seconds: int) -> str:
    """UTC as in RFC 3339, whole seconds."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_keyring(keyring: Keyring, now: int) -> tuple[KeyStatus, ...]:
    """Every key that still counts, in the order in which they sign."""
    return tuple(
        KeyStatus(key.key_id, _state_of(key, keyring, now), key.created_at, key.signs_from, key.verifies_until)
        for key in keyring.keys
        if now < key.verifies_until
    )


def _state_of(key: SigningKey, keyring: Keyring, now: int) -> str:
    if key.key_id == keyring.signing_key(now).key_id:
        return "signs"
    return "next" if key.signs_from > now else "verifies"


class KeyChanges:
    """The keyring of one installation. Every method raises StoreError, and KeyChangeError where it refuses."""

    def __init__(self, store: Store, records: Records, config: Config, clock: Callable[[], float]) -> None:
        self._store = store
        self._records = records
        self._config = config
        self._clock = clock

    async def list(self) -> tuple[KeyStatus, ...]:
        """The keys as they stand."""
        return describe_keyring(await self._find(), self._now())

    async def rotate(self, *, at_once: bool) -> tuple[KeyStatus, ...]:
        """Let the next key sign from now on. Refused unless it was published for a day, or `at_once`."""
        now = self._now()
        keyring = await self._change(renew_keyring, now)
        following = keyring.find_next_key(now)
        if following is None:
            raise KeyChangeError("there is no next key; is the clock right? run: authd keys list")
        ready_at = following.created_at + PUBLISHED_BEFORE_SIGNING_SECONDS
        if now < ready_at and not at_once:
            raise KeyChangeError(
                f"the next key has not been published for 24 h yet: wait until {render_time(ready_at)}, or add --now. "
                "With --now nobody is logged out, but an application that keeps the published keys for a day "
                "refuses new tokens until it reads them again"
            )
        promoted = await self._change(partial(promote_key, key_id=following.key_id), now)
        return describe_keyring(promoted, now)

    async def retire(self, unverified_key_id: str) -> tuple[KeyStatus, ...]:
        """End a key before its time, on every worker within two seconds. Its successor signs if it was the one that
        did."""
        now = self._now()
        keyring = await self._find()
        retired = next((key for key in keyring.keys if key.key_id == unverified_key_id), None)
        if retired is None:
            raise KeyChangeError("there is no key of that id; run: authd keys list")
        changed = await self._change(partial(retire_key, key_id=retired.key_id), now)
        await self._patiently(lambda: self._records.end_key(retired, now=now))
        return describe_keyring(changed, now)

    async def _find(self) -> Keyring:
        team_domain, now = self._config.team_domain, self._now()
        if not team_domain:
            raise KeyChangeError(
                "this configuration has no team_domain: it only verifies, and there are no keys of its own"
            )
        found = await self._patiently(lambda: self._records.find_keyring(team_domain=team_domain, now=now))
        if found is None:
            raise KeyChangeError(f"{self._config.state} holds no keys of {team_domain}; authd serve makes them")
        return found

    async def _change(self, step: Callable[..., Keyring], now: int) -> Keyring:
        """Apply a step of `rotation`. Each may be repeated, so an answer that was late does no harm."""
        await self._find()
        team_domain, longest = self._config.team_domain, self._config.longest_token_seconds
        change = partial(step, team_domain=team_domain, now=now, longest_token_seconds=longest)
        return await self._patiently(lambda: self._records.change_keyring(change, team_domain=team_domain, now=now))

    async def _patiently(self, ask: Callable[[], Awaitable[_Result]]) -> _Result:
        """No visitor waits for this: a store that is slow at the moment is asked again."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return await ask()
            except StoreUnavailableError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)

    def _now(self) -> int:
        return int(self._clock())


def run_on_keys(config: Config, act: Callable[[KeyChanges], Awaitable[tuple[KeyStatus, ...]]]) -> tuple[KeyStatus, ...]:
    """Open the store of a configuration, act on its keys, close it. Raises StoreError, SecretError, KeyChangeError."""

    async def run() -> tuple[KeyStatus, ...]:
        # A store made here would belong to whoever runs the command.
        store = open_store(config.state, may_create=False)
        try:
            records = Records(store, load_sealer(config.secret_file), on_broken=_ignore, clock=time.time)
            return await act(KeyChanges(store, records, config, time.time))
        finally:
            await store.close()

    return asyncio.run(run())


def _ignore(kind: str) -> None:
    """A keyring that cannot be opened raises; other rows are none of ours."""
