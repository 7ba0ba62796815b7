"""Login with an OpenID Connect provider: discovery, authorization code with PKCE, ID token, userinfo.

Nothing about a login is kept here between `begin` and `finish`: two people who log in at once share
this object (reference/attacks.md 1.5, where a verifier in a field swapped them).
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from authd.config import OidcConfig
from authd.errors import (
    ProviderError,
    ProviderLiedError,
    ProviderRefusedError,
    ProviderUnavailableError,
    TokenError,
)
from authd.idp.callback import UnverifiedCallback, parse_callback
from authd.idp.code_flow import (
    Client,
    TokenAnswer,
    render_authorization_url,
    render_error_code,
    request_tokens,
)
from authd.idp.discovery import MAX_METADATA_BYTES, ProviderMetadata, discovery_url, parse_metadata
from authd.idp.events import report_failure
from authd.idp.http import DEADLINE_SECONDS, ProviderHttp
from authd.idp.id_tokens import MAX_ID_TOKEN_BYTES, Expected, IdTokenError, check_id_token, check_parties
from authd.idp.identities import build_identity, lacks_claims
from authd.idp.key_sets import MayRefetch, NothingShared, ProviderKeys, SharedKeySets
from authd.idp.last_good import LastGood
from authd.jose import UnverifiedToken, parse_json_object, parse_unverified_token
from authd.jose.key_sets import MAX_KEY_SET_BYTES
from authd.model import Identity

MAX_USERINFO_BYTES = 1024 * 1024
_TEMPORARY_ERRORS = frozenset({"server_error", "temporarily_unavailable"})


class OidcProvider:
    """One configured provider, for one worker and its event loop.

    Making it asks nobody anything: authd starts while the provider is down. Every method raises
    ProviderUnavailableError (no answer within 5 seconds in all, 5xx), ProviderRefusedError (it said no)
    or ProviderLiedError (an answer fails its checks), and StoreError if `may_refetch` does.

    `clock` is Unix time and judges tokens; `timer` is monotonic and ages what is kept. `may_refetch`
    says yes at most once in 30 seconds per provider over all workers.
    """

    def __init__(
        self,
        config: OidcConfig,
        *,
        client_secret: str | None,
        redirect_uri: str,
        clock: Callable[[], float],
        may_refetch: MayRefetch,
        shared_key_sets: SharedKeySets | None = None,
        timer: Callable[[], float] = time.monotonic,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._config = config
        self._client = Client(config.client_id, client_secret, redirect_uri, config.scopes)
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        # A little less for a single call: its error, which names the document, then comes first.
        self._http = ProviderHttp(config.id, deadline_seconds=0.9 * deadline_seconds)
        self._metadata = LastGood(
            self._fetch_metadata,
            timer=timer,
            on_failure=functools.partial(report_failure, "provider.metadata_not_renewed", config.id),
        )
        self._keys = ProviderKeys(
            config.id,
            self._fetch_key_set,
            issuer=config.issuer,
            may_refetch=may_refetch,
            shared=shared_key_sets or NothingShared(),
            timer=timer,
        )

    async def begin(self, *, state: str, nonce: str, code_verifier: str, prompt: str | None) -> str:
        """Return the address at the provider where the browser logs in."""
        async with self._deadline("login page"):
            metadata = await self._metadata.get()
            return render_authorization_url(
                self._client, metadata, state=state, nonce=nonce, code_verifier=code_verifier, prompt=prompt
            )

    async def finish(self, unverified_query: str, *, nonce: str, code_verifier: str) -> Identity:
        """Return who the provider says this is, from the raw query string of its callback.

        The caller has matched `state` with the attempt that `nonce` and `code_verifier` belong to,
        and the attempt with this provider.
        """
        async with self._deadline("whole login"):
            metadata = await self._metadata.get()
            code = self._read_callback(unverified_query, metadata)
            tokens = await self._http.run(
                "token answer",
                lambda call: request_tokens(call, self._client, metadata, code=code, code_verifier=code_verifier),
            )
            claims = await self._verify_id_token(tokens, metadata, nonce)
            sources = [claims]
            if metadata.userinfo_endpoint and tokens.access_token and lacks_claims(self._config, claims):
                sources.append(await self._fetch_userinfo(metadata, tokens.access_token, claims["sub"]))
        return build_identity(self._config, provider_subject=claims["sub"], sources=sources, now=self._clock())

    def close(self) -> None:
        """Take no new logins, for the end of the worker or of a configuration. Calls under way end by themselves."""
        self._http.close()

    @asynccontextmanager
    async def _deadline(self, what: str) -> AsyncIterator[None]:
        # One for all calls of a step: five calls of four seconds each are twenty to who waits.
        try:
            async with asyncio.timeout(self._deadline_seconds):
                yield
        except TimeoutError:
            sentence = f"the {what} took longer than {self._deadline_seconds:g} seconds"
            raise ProviderUnavailableError(self._config.id, "timeout", sentence) from None

    async def _fetch_metadata(self) -> ProviderMetadata:
        url = discovery_url(self._config.issuer)
        answer = await self._http.get("discovery document", url, max_bytes=MAX_METADATA_BYTES)
        try:
            return parse_metadata(answer.body, issuer=self._config.issuer)
        except ValueError as error:
            raise self._lied("metadata_invalid", f"the discovery document {error}") from None

    async def _fetch_key_set(self) -> bytes:
        metadata = await self._metadata.get()
        return (await self._http.get("key set", metadata.jwks_uri, max_bytes=MAX_KEY_SET_BYTES)).body

    def _read_callback(self, unverified_query: str, metadata: ProviderMetadata) -> str:
        try:
            callback = parse_callback(unverified_query)
        except ValueError as error:
            raise self._lied("callback_invalid", f"the callback {error}") from None
        # RFC 9207: a code of one provider must never be redeemed at another (mix-up).
        if callback.issuer is None and metadata.sends_issuer:
            raise self._lied("callback_issuer", "the callback lacks iss, which this provider always sends")
        if callback.issuer not in (None, metadata.issuer):
            raise self._lied("callback_issuer", "the callback comes from another issuer")
        if callback.code is None:
            raise self._refusal(callback)
        return callback.code

    def _refusal(self, callback: UnverifiedCallback) -> ProviderError:
        cause = render_error_code(callback.error)
        kind = ProviderUnavailableError if cause in _TEMPORARY_ERRORS else ProviderRefusedError
        words = "".join(letter for letter in callback.error_description or "" if " " <= letter <= "~")[:200]
        said = f"; the callback adds: {words}" if words else ""
        return kind(self._config.id, cause, f"the login was refused with {cause}{said}")

    async def _verify_id_token(self, tokens: TokenAnswer, metadata: ProviderMetadata, nonce: str) -> Mapping[str, Any]:
        token, claims = await self._verify_token("ID token", tokens.unverified_id_token, metadata)
        expected = Expected(metadata.issuer, self._client.client_id, nonce, tokens.access_token, self._clock())
        try:
            check_id_token(token, claims, expected)
        except IdTokenError as error:
            raise self._lied(error.cause, f"the ID token {error}") from None
        return claims

    async def _verify_token(
        self, what: str, unverified_text: str, metadata: ProviderMetadata
    ) -> tuple[UnverifiedToken, Mapping[str, Any]]:
        try:
            token = parse_unverified_token(unverified_text, max_bytes=MAX_ID_TOKEN_BYTES)
            if token.algorithm not in metadata.algorithms:
                raise self._lied("token_algorithm", f"the {what} is signed with an algorithm that is not allowed")
            return token, await self._keys.verify(token)
        except TokenError as error:
            raise self._lied(error.code, f"the {what} is refused: {error}") from None

    async def _fetch_userinfo(self, metadata: ProviderMetadata, access_token: str, subject: str) -> Mapping[str, Any]:
        answer = await self._http.get(
            "userinfo",
            str(metadata.userinfo_endpoint),
            max_bytes=MAX_USERINFO_BYTES,
            bearer=access_token,
        )
        if answer.content_type == "application/jwt":
            claims = await self._verify_userinfo(answer.body, metadata)
        else:
            claims = self._parse_userinfo(answer.body)
        if claims.get("sub") != subject:
            # OpenID Connect Core 1.0, 5.3.2: another person's claims must not be mixed in.
            raise self._lied("userinfo_subject", "userinfo is about somebody else than the ID token")
        return claims

    def _parse_userinfo(self, body: bytes) -> Mapping[str, Any]:
        try:
            return parse_json_object(body)
        except ValueError as error:
            raise self._lied("userinfo_malformed", f"userinfo {error}") from None

    async def _verify_userinfo(self, body: bytes, metadata: ProviderMetadata) -> Mapping[str, Any]:
        _, claims = await self._verify_token("signed userinfo", body.decode("latin-1"), metadata)
        try:
            check_parties(claims, issuer=metadata.issuer, client_id=self._client.client_id)
        except IdTokenError as error:
            raise self._lied("userinfo_parties", f"signed userinfo {error}") from None
        return claims

    def _lied(self, cause: str, sentence: str) -> ProviderLiedError:
        return ProviderLiedError(self._config.id, cause, sentence)
