"""All other issuers whose tokens count here, in one worker: made from the configuration, kept over reloads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from authd.config import Config, TokenIssuerConfig
from authd.errors import IssuerUnavailableError, TokenError
from authd.issuers.access_tokens import ACCESS_ALGORITHMS, Bearer, check_access_header, read_access_token
from authd.issuers.bearer_tokens import check_bearer_header, read_bearer_token
from authd.issuers.key_source import KeyPlace, KeySource, SharedKeySets
from authd.jose import UnverifiedToken, VerificationKey, parse_unverified_token, verify_signature
from authd.model import Reason

MAX_REMEMBERED_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class VerifiedForeignToken:
    """A token of another issuer whose signature, issuer, audience, type and times were right when it was verified."""

    bearer: Bearer
    issuer: str
    key: VerificationKey

    @property
    def expires_at(self) -> int:
        """In Unix seconds."""
        return self.bearer.expires_at


class Issuers:
    """Verifies; what was verified once is remembered. `may_fetch` says yes once in FETCH_SECONDS for a name, over all
    workers."""

    def __init__(
        self,
        *,
        shared: SharedKeySets,
        may_fetch: Callable[[str], Awaitable[bool]],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._shared = shared
        self._may_fetch = may_fetch
        self._clock = clock
        self._monotonic = monotonic
        self._sources: dict[str, KeySource] = {}
        self._token_issuers: dict[str, TokenIssuerConfig] = {}
        self._verified: dict[tuple[str, str, str], VerifiedForeignToken] = {}

    def select(self, config: Config) -> None:
        """Those of a configuration count from now on, and no others."""
        token_issuers = {each.issuer: each for each in config.token_issuers}
        if token_issuers != self._token_issuers:
            # What was verified by other settings is verified anew.
            self._verified.clear()
        self._token_issuers = token_issuers
        wanted = {place.issuer: place for place in walk_places(config)}
        for issuer, source in list(self._sources.items()):
            if wanted.get(issuer) != source.place:
                source.close()
                del self._sources[issuer]
        for issuer, place in wanted.items():
            if issuer not in self._sources:
                self._sources[issuer] = self._make_source(place)

    def tend(self) -> None:
        """Begin to renew the keys that are due. Call it often, within the event loop; it waits for nothing."""
        for source in self._sources.values():
            source.tend()

    def ages_seconds(self) -> dict[str, float]:
        """How old the keys of each issuer are, infinite where there are none."""
        return {issuer: source.age_seconds for issuer, source in self._sources.items()}

    async def verify_access_token(self, unverified_text: str, *, issuer: str, audience: str) -> VerifiedForeignToken:
        """The token of an Access edge for one application.

        Raises TokenError whose code is one of Reason's token reasons, IssuerUnavailableError or StoreError if nobody
        can say.
        """

        async def verify() -> VerifiedForeignToken:
            token = parse_unverified_token(unverified_text)
            check_access_header(token)
            key = await self._find_key(token, issuer)
            claims = verify_signature(token, key)
            bearer = read_access_token(claims, issuer=issuer, audience=audience, now=self._clock())
            return VerifiedForeignToken(bearer, issuer, key)

        return await self._remembered((issuer, audience, unverified_text), verify)

    def find_token_issuer(self, unverified_text: str) -> TokenIssuerConfig | None:
        """The configured issuer that a bearer token says it is from; None if it is the application's business."""
        if not self._token_issuers:
            return None
        try:
            issuer = parse_unverified_token(unverified_text).claims.get("iss")
        except TokenError:
            return None
        return self._token_issuers.get(issuer) if isinstance(issuer, str) else None

    async def verify_bearer_token(self, unverified_text: str, issuer: TokenIssuerConfig) -> VerifiedForeignToken:
        """A machine's token of a configured issuer. Raises as `verify_access_token`."""

        async def verify() -> VerifiedForeignToken:
            token = parse_unverified_token(unverified_text)
            check_bearer_header(token, issuer)
            key = await self._find_key(token, issuer.issuer)
            bearer = read_bearer_token(verify_signature(token, key), issuer, self._clock())
            return VerifiedForeignToken(bearer, issuer.issuer, key)

        return await self._remembered((issuer.issuer, "", unverified_text), verify)

    def still_holds(self, verified: VerifiedForeignToken) -> bool:
        """Whether the very same token would be verified again. Asks nobody."""
        return verified.expires_at > self._clock() and self._has_key(verified)

    def close(self) -> None:
        """Fetch no more."""
        for source in self._sources.values():
            source.close()

    async def _remembered(
        self, name: tuple[str, str, str], verify: Callable[[], Awaitable[VerifiedForeignToken]]
    ) -> VerifiedForeignToken:
        """Verify, or remember having verified these very bytes; time and key are looked at every time."""
        verified = self._verified.get(name)
        if verified is None or not self._has_key(verified):
            verified = await verify()
            if len(self._verified) >= MAX_REMEMBERED_TOKENS:
                self._verified.pop(next(iter(self._verified)))
            self._verified[name] = verified
        if verified.expires_at <= self._clock():
            self._verified.pop(name, None)
            raise TokenError(Reason.TOKEN_EXPIRED, "the token has expired")
        return verified

    async def _find_key(self, token: UnverifiedToken, issuer: str) -> VerificationKey:
        # First of all: somebody else's token must not make us ask this issuer.
        if token.claims.get("iss") != issuer:
            raise TokenError(Reason.TOKEN_ISSUER, "the token was issued by somebody else")
        source = self._sources.get(issuer)
        if source is None:
            # A reload has taken it away in the middle of this request.
            raise IssuerUnavailableError(issuer)
        return await source.find_key(token)

    def _has_key(self, verified: VerifiedForeignToken) -> bool:
        source = self._sources.get(verified.issuer)
        return source is not None and source.still_has(verified.key)

    def _make_source(self, place: KeyPlace) -> KeySource:
        return KeySource(
            place,
            shared=self._shared,
            may_fetch=self._may_fetch,
            clock=self._clock,
            monotonic=self._monotonic,
        )


def walk_places(config: Config) -> Iterator[KeyPlace]:
    """Where each issuer of a configuration publishes its keys; applications of one issuer agree about it."""
    for application in config.applications:
        if application.issuer:
            yield KeyPlace(application.issuer, application.keys_url, application.ca_file, ACCESS_ALGORITHMS)
    for each in config.token_issuers:
        yield KeyPlace(each.issuer, each.jwks_uri, each.ca_file, frozenset(each.algorithms))
