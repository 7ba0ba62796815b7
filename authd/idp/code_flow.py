"""The two requests of the authorization code flow (RFC 6749 4.1, RFC 7636), made by Authlib."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote_plus

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from authd.errors import ProviderRefusedError
from authd.idp.discovery import ProviderMetadata
from authd.idp.http import Answer, Call
from authd.jose import parse_json_object

# An ID token that lists 5,000 groups by their ids has some 300 kB.
MAX_TOKEN_ANSWER_BYTES = 1024 * 1024
_MEMBERS = frozenset({"id_token", "access_token", "refresh_token", "token_type", "error", "error_description"})


@dataclass(frozen=True, slots=True)
class Client:
    """authd as the provider knows it. Without a secret it is a public client: PKCE alone protects it."""

    client_id: str
    client_secret: str | None = field(repr=False)
    redirect_uri: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the provider gave for a code. The ID token is unverified."""

    unverified_id_token: str = field(repr=False)
    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)


def render_authorization_url(
    client: Client,
    metadata: ProviderMetadata,
    *,
    state: str,
    nonce: str,
    code_verifier: str,
    prompt: str | None,
    extra: Mapping[str, str],
) -> str:
    """Return the address to send the browser to. Of the verifier only its SHA-256 is in it."""
    with _open_session(client, metadata) as session:
        url, _ = session.create_authorization_url(
            metadata.authorization_endpoint,
            state=state,
            code_verifier=code_verifier,
            nonce=nonce,
            **({**extra, "prompt": prompt} if prompt else extra),
        )
    return str(url)


def request_tokens(
    call: Call, client: Client, metadata: ProviderMetadata, *, code: str, code_verifier: str
) -> TokenAnswer:
    """Redeem `code`. To be run in a thread, by `ProviderHttp.run`.

    Raises ProviderRefusedError if the provider answers with an OAuth error, ProviderLiedError if
    there is no ID token in a strict JSON object, ProviderUnavailableError as `ProviderHttp.get`.
    """
    with call.open(_open_session(client, metadata)) as session:
        session.register_compliance_hook("access_token_response", lambda response: _BoundedJson(call, response))
        try:
            tokens = session.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=code_verifier,
                stream=True,
                allow_redirects=False,
            )
        except OAuthError as error:
            raise _refusal(call, error) from None
    if "id_token" not in tokens:
        raise call.lied("id_token_missing", "has no ID token; is `openid` among the scopes?")
    if tokens.get("token_type", "").lower() != "bearer":
        # OpenID Connect Core 1.0, 3.1.3.3. Any other kind needs proofs that we cannot give.
        raise call.lied("token_type", "has an access token that is not of the type Bearer")
    return TokenAnswer(tokens["id_token"], tokens.get("access_token"), tokens.get("refresh_token"))


def refresh_tokens(call: Call, client: Client, metadata: ProviderMetadata, refresh_token: str) -> TokenAnswer:
    """Ask for new tokens (RFC 6749 6). In a thread; errors as of `request_tokens`. The ID token may be missing (""),
    and so may the refresh token where the old one goes on."""
    # No scope: the provider may have granted less than was asked for, and more than that is an error (RFC 6749 6).
    with call.open(_open_session(replace(client, scopes=()), metadata)) as session:
        session.register_compliance_hook("refresh_token_response", lambda response: _BoundedJson(call, response))
        try:
            tokens = session.refresh_token(
                metadata.token_endpoint, refresh_token=refresh_token, stream=True, allow_redirects=False
            )
        except OAuthError as error:
            raise _refusal(call, error) from None
    if tokens.get("token_type", "").lower() != "bearer":
        raise call.lied("token_type", "has an access token that is not of the type Bearer")
    return TokenAnswer(tokens.get("id_token", ""), tokens.get("access_token"), tokens.get("refresh_token"))


class _BoundedJson:
    """The provider's answer as Authlib wants it, read within our bounds and by our strict parser."""

    def __init__(self, call: Call, response: requests.Response) -> None:
        # OAuth errors come with 400 or 401 (RFC 6749 5.2).
        statuses = frozenset({200, 400, 401})
        self._answer: Answer = call.read(response, max_bytes=MAX_TOKEN_ANSWER_BYTES, statuses=statuses)
        self._call = call
        self.status_code = self._answer.status

    def json(self) -> dict[str, str]:
        """Return the members that we know; Authlib computes with others, whatever they hold."""
        try:
            members = parse_json_object(self._answer.body)
        except ValueError as error:
            raise self._call.lied("malformed", str(error)) from None
        texts = {name: value for name, value in members.items() if name in _MEMBERS and isinstance(value, str)}
        if self.status_code != 200 and "error" not in texts:
            raise self._call.lied("http_status", f"came with HTTP {self.status_code}")
        return texts


def _open_session(client: Client, metadata: ProviderMetadata) -> OAuth2Session:
    if client.client_secret is None:
        method = "none"
    elif metadata.secret_goes_in_body:
        method = "client_secret_post"
    else:
        method = "client_secret_basic"
    session = OAuth2Session(
        client.client_id,
        client.client_secret,
        scope=" ".join(client.scopes),
        redirect_uri=client.redirect_uri,
        token_endpoint_auth_method=method,
        code_challenge_method="S256",
    )
    session.register_client_auth_method(("client_secret_basic", _encode_basic))
    return session


def _encode_basic(client: Any, method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    # RFC 6749 2.3.1 wants both form-encoded first. Authlib leaves that out, and a secret with a
    # "+" or "%" in it then fails at providers that go by the book.
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}"
    return uri, headers, body


def _refusal(call: Call, error: OAuthError) -> ProviderRefusedError:
    cause = render_error_code(error.error)
    hint = {
        "invalid_client": "; are client_id and client secret right?",
        "invalid_grant": "; was the code used before, or is the redirect URI not the registered one?",
    }.get(cause, "")
    return ProviderRefusedError(call.provider_id, cause, f"the {call.what} was refused with {cause}{hint}")


def render_error_code(unverified: object) -> str:
    """Return an OAuth error code as it may stand in a log, `unknown_error` if it is none."""
    is_code = isinstance(unverified, str) and unverified.isascii() and unverified.replace("_", "").isalnum()
    return str(unverified)[:64] if is_code else "unknown_error"
