"""A provider's keys: kept, renewed behind the visitors' backs, and found again after a rotation.

A provider may start to sign with a key that we have not seen. Then, and only then, the key set is
fetched out of turn, at most once in 30 seconds over all workers (whoever could make us fetch for
every token would have an amplifier). Workers that may not fetch take what the one that did leaves
in the shared place, so that a rotation fails nobody's login.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from authd.errors import KeySetError, ProviderLiedError, StoreError, TokenError
from authd.idp.events import report, report_failure
from authd.idp.last_good import LastGood
from authd.jose import KeySet, UnverifiedToken, VerificationKey, parse_key_set, verify_signature
from authd.jose.key_sets import ALGORITHMS

# Another worker fetches for as long as that; asking the shared place is cheap.
_WAIT_STEPS, _WAIT_STEP_SECONDS = 20, 0.1

MayRefetch = Callable[[str], Awaitable[bool]]


class SharedKeySets(Protocol):
    """Where workers leave the key sets that they fetched, by the issuer's name.

    What it returns must be what one of them left: whoever can write there chooses whom we believe.
    """

    async def find(self, issuer: str, /) -> bytes | None:
        """The document left last, or None."""

    async def leave(self, issuer: str, document: bytes, /) -> None:
        """Leave a document for the other workers."""


class NothingShared:
    """For a single worker: nobody else fetches."""

    async def find(self, issuer: str, /) -> bytes | None:
        """See `SharedKeySets.find`."""
        return None

    async def leave(self, issuer: str, document: bytes, /) -> None:
        """See `SharedKeySets.leave`."""


@dataclass(frozen=True, slots=True)
class _Published:
    document: bytes
    keys: KeySet


class ProviderKeys:
    """The key set of one provider. `fetch` brings the document or raises ProviderError."""

    def __init__(
        self,
        provider_id: str,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        issuer: str,
        may_refetch: MayRefetch,
        shared: SharedKeySets,
        timer: Callable[[], float],
    ) -> None:
        self._provider_id = provider_id
        # By the issuer and not by the provider's id: an entry of the configuration may come to mean
        # another provider, and the keys of the one it meant must not sign for that.
        self._shared_name = issuer
        self._fetch = fetch
        self._may_refetch = may_refetch
        self._shared = shared
        self._published = LastGood(
            self._fetch_published,
            timer=timer,
            on_failure=functools.partial(report_failure, "provider.key_set_not_renewed", provider_id),
        )

    async def verify(self, token: UnverifiedToken) -> Mapping[str, Any]:
        """Return the claims of a token that one of the provider's keys signed.

        Raises TokenError (`token_key_unknown`, `token_signature`) if none did, after one more look
        at the provider where that is allowed; ProviderError if the key set cannot be had.
        Not checked: the algorithm, beyond being that of the key, and the claims.
        """
        published = await self._published.get()
        try:
            return _verify(token, published.keys)
        except TokenError:
            # Also for a bad signature: there are providers that make a new key under the old id.
            newer = await self._find_newer(published)
            if newer is None:
                raise
        claims = _verify(token, newer.keys)
        # Kept once it has proved to be newer: another worker may have failed to leave its last one.
        self._published.keep(newer)
        return claims

    async def _find_newer(self, tried: _Published) -> _Published | None:
        if await self._may_refetch(self._provider_id):
            return await self._published.refresh()
        for _ in range(_WAIT_STEPS):
            newest = await self._find_from_others(tried)
            if newest is not None:
                return newest
            await asyncio.sleep(_WAIT_STEP_SECONDS)
        return None

    async def _find_from_others(self, tried: _Published) -> _Published | None:
        newest = self._published.peek()
        if newest is not tried:
            return newest
        document = await self._shared.find(self._shared_name)
        if document is None or document == tried.document:
            return None
        return self._parse(document)

    async def _fetch_published(self) -> _Published:
        published = self._parse(await self._fetch())
        for sentence in published.keys.skipped:
            report("provider.key_skipped", self._provider_id, level=logging.INFO, reason=sentence)
        try:
            await self._shared.leave(self._shared_name, published.document)
        except StoreError as error:
            # The keys are here; that other workers must fetch for themselves is no reason to fail.
            report_failure("provider.key_set_not_shared", self._provider_id, error)
        return published

    def _parse(self, document: bytes) -> _Published:
        try:
            keys = parse_key_set(document, algorithms=ALGORITHMS)
        except KeySetError as error:
            raise ProviderLiedError(self._provider_id, "key_set_invalid", str(error)) from None
        return _Published(document, keys)


def _verify(token: UnverifiedToken, keys: KeySet) -> Mapping[str, Any]:
    return verify_signature(token, _get_key(token, keys))


def _get_key(token: UnverifiedToken, keys: KeySet) -> VerificationKey:
    name, algorithm = token.key_id, token.algorithm
    key = keys.only_key(algorithm) if name is None else keys.find(name, algorithm)
    if key is None:
        raise TokenError("token_key_unknown", "the token is signed with a key that the provider does not publish")
    return key
