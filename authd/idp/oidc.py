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
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

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
    refresh_tokens,
    render_authorization_url,
    render_error_code,
    request_tokens,
)
from authd.idp.discovery import MAX_METADATA_BYTES, ProviderMetadata, discovery_url, parse_metadata
from authd.idp.events import report, report_failure
from authd.idp.graph import ask_graph
from authd.idp.http import DEADLINE_SECONDS, ProviderHttp
from authd.idp.id_tokens import (
    MAX_ID_TOKEN_BYTES,
    MAX_SUBJECT_CHARACTERS,
    Expected,
    IdTokenError,
    check_id_token,
    check_logout_token,
    check_parties,
    check_refreshed,
)
from authd.idp.identities import build_identity, derive_subject, lacks_claims, points_elsewhere
from authd.idp.key_sets import MayRefetch, NothingShared, ProviderKeys, SharedKeySets
from authd.idp.last_good import LastGood
from authd.idp.tenants import Issuers
from authd.jose import UnverifiedToken, parse_json_object, parse_unverified_token
from authd.jose.key_sets import MAX_KEY_SET_BYTES
from authd.model import Identity, LogoutToken, Vouched

MAX_USERINFO_BYTES = 1024 * 1024
# How long a logout token that names no end is good for, and how much longer its id is remembered.
_LOGOUT_TOKEN_SECONDS = 120
# A provider's token that is longer is not kept as a hint.
_MAX_HINT_CHARACTERS = 4096
_TEMPORARY_ERRORS = frozenset({"server_error", "temporarily_unavailable"})
# Of the deadline: a slow Graph costs somebody their groups and not the login.
_GRAPH_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class _Said:
    """All claims about somebody, of each source; `is_partial` as in `Vouched`."""

    sources: list[Mapping[str, Any]]
    is_partial: bool = False


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
        self._issuers = Issuers(config.issuer, frozenset(config.allowed_tenants))
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
                self._client,
                metadata,
                state=state,
                nonce=nonce,
                code_verifier=code_verifier,
                prompt=prompt,
                extra=self._config.authorization_parameters,
            )

    async def finish(self, unverified_query: str, *, nonce: str, code_verifier: str) -> Vouched:
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
            said = await self._gather(tokens, claims, metadata, claims["sub"])
        identity = build_identity(
            self._config,
            provider_subject=claims["sub"],
            sources=said.sources,
            now=self._clock(),
            issuer=claims["iss"],
            tenant=claims["tid"] if self._issuers.tenants else "",
        )
        return _vouch(identity, claims, tokens, said)

    async def refresh(self, identity: Identity, refresh_token: str) -> Vouched:
        """Ask again who somebody is, with the refresh token of their login.

        ProviderRefusedError with the cause `invalid_grant`, `other_subject` or `tenant_not_allowed` means that the
        provider does not know the person any more, or not as one of ours. What the ID token of the login said of
        methods (`amr`) stays, where nothing new is said.
        """
        tokens = None
        try:
            async with self._deadline("refresh"):
                metadata = await self._metadata.get()
                tokens = await self._http.run(
                    "refreshed token answer", lambda call: refresh_tokens(call, self._client, metadata, refresh_token)
                )
                claims = await self._verify_refreshed(tokens, metadata)
                said = await self._gather_refreshed(tokens, claims, metadata, identity)
        except ProviderError as error:
            error.replaced_token = tokens.refresh_token if tokens else None
            raise
        found = build_identity(
            self._config, provider_subject=identity.provider_subject, sources=said.sources, now=self._clock()
        )
        # Groups that nothing is said of any more are unknown: it was the ID token of the login that spoke of them.
        were_told = bool(identity.groups) or not identity.groups_are_complete
        are_unknown = not claims and not found.groups and were_told
        kept = replace(
            found,
            subject=identity.subject,
            tenant=identity.tenant,
            groups_are_complete=found.groups_are_complete and not are_unknown,
            authenticated_at=identity.authenticated_at,
            auth_methods=found.auth_methods or identity.auth_methods,
            evaluations=identity.evaluations,
        )
        return _vouch(kept, claims, tokens, said)

    async def _gather_refreshed(
        self, tokens: TokenAnswer, claims: Mapping[str, Any], metadata: ProviderMetadata, identity: Identity
    ) -> _Said:
        # Before userinfo is asked, which must be about the same person as before.
        self._require_same(claims, identity)
        said = await self._gather(tokens, claims, metadata, identity.provider_subject)
        if not said.sources:
            raise self._lied("refresh_empty", "the refresh brought neither an ID token nor userinfo")
        return said

    def _require_same(self, claims: Mapping[str, Any], identity: Identity) -> None:
        subject = identity.provider_subject
        # Two tenants may each have a person by one name; without an ID token, theirs may have been taken off the list.
        issuers = [claims["iss"]] if claims else self._issuers.believed
        is_of_these = any(derive_subject(issuer, subject) == identity.subject for issuer in issuers)
        if claims and (claims["sub"] != subject or (self._issuers.tenants and not is_of_these)):
            raise ProviderRefusedError(self._config.id, "other_subject", "the refresh was about somebody else")
        if self._issuers.tenants and not is_of_these:
            raise self._not_of_ours()

    async def _gather(
        self, tokens: TokenAnswer, claims: Mapping[str, Any], metadata: ProviderMetadata, subject: str
    ) -> _Said:
        """All that the provider says of a person: ID token, userinfo, and the groups that did not fit into them."""
        sources = [claims] if claims else []
        if metadata.userinfo_endpoint and tokens.access_token and lacks_claims(self._config, claims):
            sources.append(await self._fetch_userinfo(metadata, tokens.access_token, subject))
        if not points_elsewhere(self._config, sources):
            return _Said(sources)
        deadline = _GRAPH_SHARE * self._deadline_seconds
        answer = await ask_graph(
            self._http, self._config.id, self._config.graph_url, tokens.access_token, deadline_seconds=deadline
        )
        if answer.groups is not None:
            sources.append({self._config.groups_claim: list(answer.groups)})
        return _Said(sources, is_partial=answer.is_passing)

    async def logout_url(self, id_token: str | None, *, return_url: str) -> str | None:
        """OpenID Connect RP-Initiated Logout 1.0; None where the provider offers none, or is not to be asked."""
        if not self._config.logout_at_provider:
            return None
        async with self._deadline("logout page"):
            endpoint = (await self._metadata.get()).end_session_endpoint
        if endpoint is None:
            return None
        hint = {"id_token_hint": id_token} if id_token else {}
        parameters = {**hint, "client_id": self._client.client_id, "post_logout_redirect_uri": return_url}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

    async def read_logout_token(self, unverified_text: str) -> LogoutToken | None:
        """A logout token of this provider (OpenID Connect Back-Channel Logout 1.0), verified; None for another's.

        Raises ProviderLiedError if it is this provider's and not good.
        """
        try:
            unverified = parse_unverified_token(unverified_text, max_bytes=MAX_ID_TOKEN_BYTES)
        except TokenError:
            return None
        if not any(unverified.claims.get("iss") == issuer for issuer in self._issuers.believed):
            return None
        async with self._deadline("logout token"):
            metadata = await self._metadata.get()
            token, claims = await self._verify_token("logout token", unverified_text, metadata)
        expected = self._expect(claims)
        try:
            check_logout_token(token, claims, expected)
        except IdTokenError as error:
            raise self._lied(error.cause, f"the logout token {error}") from None
        expires_at = int(claims.get("exp", claims["iat"] + _LOGOUT_TOKEN_SECONDS)) + _LOGOUT_TOKEN_SECONDS
        subject = derive_subject(claims["iss"], claims["sub"]) if "sub" in claims else ""
        return LogoutToken(claims["jti"], subject, claims.get("sid", ""), expires_at)

    async def _verify_refreshed(self, tokens: TokenAnswer, metadata: ProviderMetadata) -> Mapping[str, Any]:
        if not tokens.unverified_id_token:
            return {}
        token, claims = await self._verify_token("refreshed ID token", tokens.unverified_id_token, metadata)
        expected = self._expect(claims)
        try:
            check_refreshed(token, claims, expected)
        except IdTokenError as error:
            raise self._lied(error.cause, f"the refreshed ID token {error}") from None
        return claims

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
        difference = answer.clock_difference_seconds(self._clock())
        if difference:
            report("provider.clock_differs", self._config.id, ahead_by_seconds=difference)
        try:
            return parse_metadata(answer.body, issuer=self._issuers.published)
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
        if callback.issuer is not None and callback.issuer not in self._issuers.believed:
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
        expected = self._expect(claims, nonce=nonce, access_token=tokens.access_token)
        try:
            check_id_token(token, claims, expected)
        except IdTokenError as error:
            raise self._lied(error.cause, f"the ID token {error}") from None
        return claims

    def _expect(self, claims: Mapping[str, Any], *, nonce: str = "", access_token: str | None = None) -> Expected:
        issuer = self._issuers.find(claims)
        if issuer is None:
            raise self._not_of_ours()
        return Expected(issuer, self._client.client_id, nonce, access_token, self._clock())

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
            check_parties(claims, issuer=self._expect(claims).issuer, client_id=self._client.client_id)
        except IdTokenError as error:
            raise self._lied("userinfo_parties", f"signed userinfo {error}") from None
        return claims

    def _lied(self, cause: str, sentence: str) -> ProviderLiedError:
        return ProviderLiedError(self._config.id, cause, sentence)

    def _not_of_ours(self) -> ProviderRefusedError:
        sentence = "the token is of a tenant that is not among allowed_tenants"
        return ProviderRefusedError(self._config.id, "tenant_not_allowed", sentence)


def _vouch(identity: Identity, claims: Mapping[str, Any], tokens: TokenAnswer, said: _Said) -> Vouched:
    session_id = claims.get("sid")
    hint = tokens.unverified_id_token
    return Vouched(
        identity,
        session_id=session_id if isinstance(session_id, str) and len(session_id) <= MAX_SUBJECT_CHARACTERS else "",
        refresh_token=tokens.refresh_token,
        id_token=hint if hint and len(hint) <= _MAX_HINT_CHARACTERS else None,
        is_partial=said.is_partial,
    )
