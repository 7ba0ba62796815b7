"""How the signing keys follow one another: pure steps from one keyring to the next.

    created, published ──(42 days, 24 h at least)──> signs ──(42 days)──> verifies ──(longest token)──> gone

The change from one signing key to the next is a matter of the clock alone: the next key lies in every worker's keyring
long before it signs, so nobody has to be told. Each step here only keeps that true, and may be taken by any worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from authd.keys import (
    PUBLISHED_BEFORE_SIGNING_SECONDS,
    ROTATION_SECONDS,
    Keyring,
    SigningKey,
    generate_signing_key,
    schedule_key,
)


def renew_keyring(keyring: Keyring, *, team_domain: str, now: int, longest_token_seconds: int) -> Keyring:
    """What the keyring has to be now: equal to `keyring` if nothing is due.

    Keys that verify nothing any more have left; there is a next key; and the one that signs verifies for as long as any
    token lives that it may have signed, also when `longest_token_seconds` was lowered meanwhile.
    """
    signing = keyring.signing_key(now)
    longest = max(signing.longest_token_seconds, longest_token_seconds)
    keys = [
        replace(key, longest_token_seconds=longest) if key is signing else key
        for key in keyring.keys
        if key.signs_from >= signing.signs_from or now < key.verifies_until
    ]
    if keyring.find_next_key(now) is None:
        # Without a worker for weeks the next one is late; it is published in advance all the same.
        signs_from = max(signing.signs_from + ROTATION_SECONDS, now + PUBLISHED_BEFORE_SIGNING_SECONDS)
        keys.append(generate_signing_key(team_domain=team_domain, now=now, signs_from=signs_from))
    return Keyring(tuple(_schedule(keys, signing.key_id, team_domain)))


def promote_key(keyring: Keyring, key_id: str, *, team_domain: str, now: int, longest_token_seconds: int) -> Keyring:
    """Let the next key sign from now on. Nothing but `renew_keyring` if it is not the next one (any more)."""
    renewed = renew_keyring(keyring, team_domain=team_domain, now=now, longest_token_seconds=longest_token_seconds)
    following = renewed.find_next_key(now)
    if following is None or following.key_id != key_id:
        return renewed
    promoted = [replace(key, signs_from=now) if key is following else key for key in renewed.keys]
    # The old key's end follows from the new key's beginning, so it is told before it is forgotten that it signed.
    scheduled = Keyring(tuple(_schedule(promoted, renewed.signing_key(now).key_id, team_domain)))
    return renew_keyring(scheduled, team_domain=team_domain, now=now, longest_token_seconds=longest_token_seconds)


def retire_key(keyring: Keyring, key_id: str, *, team_domain: str, now: int, longest_token_seconds: int) -> Keyring:
    """Remove a key at once. If it signed, the next one does from now on, or a new one where there is none."""
    rest = without_key(keyring, key_id, now=now)
    if rest is None:
        fresh = generate_signing_key(team_domain=team_domain, now=now, signs_from=now)
        rest = Keyring((*(key for key in keyring.keys if key.key_id != key_id), fresh))
    return renew_keyring(rest, team_domain=team_domain, now=now, longest_token_seconds=longest_token_seconds)


def without_key(keyring: Keyring, key_id: str, *, now: int) -> Keyring | None:
    """The keyring without that key, None if nothing is left that may sign: a key that has signed never does again."""
    rest = tuple(key for key in keyring.keys if key.key_id != key_id)
    if keyring.signing_key(now).key_id != key_id:
        return Keyring(rest)
    following = keyring.find_next_key(now)
    if following is None:
        return None
    return Keyring(tuple(replace(key, signs_from=now) if key is following else key for key in rest))


def _schedule(keys: Iterable[SigningKey], signing_id: str, team_domain: str) -> Iterator[SigningKey]:
    """Give the signing key and those after it the end that follows from their successors; earlier ones have theirs."""
    ordered = list(keys)
    first = next(position for position, key in enumerate(ordered) if key.key_id == signing_id)
    yield from ordered[:first]
    for key, successor in zip(ordered[first:], [*ordered[first + 1 :], None], strict=True):
        signs_until = successor.signs_from if successor else key.signs_from + ROTATION_SECONDS
        yield schedule_key(key, team_domain=team_domain, signs_until=signs_until)
