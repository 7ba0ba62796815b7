"""Login with GitHub: OAuth 2.0 with PKCE, and who somebody is from its REST API.

No ID token says who it is, so all that is believed comes from calls that we make ourselves, with the token that our own
code brought (docs.github.com: Authorizing OAuth apps; REST API for users, emails, organizations, teams). A person is
their number: a login name changes hands. Organisations and teams that have not admitted the OAuth app are not listed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import requests

from authd.config import parse_email
from authd.config.github import GithubConfig
from authd.errors import ProviderError, ProviderLiedError, ProviderRefusedError, ProviderUnavailableError
from authd.idp.callback import parse_callback
from authd.idp.code_flow import render_error_code
from authd.idp.events import report
from authd.idp.http import DEADLINE_SECONDS, Answer, Call, ProviderHttp
from authd.idp.identities import derive_subject
from authd.jose import parse_json_array, parse_json_object
from authd.model import Identity, LogoutToken, Vouched

SCOPES = ("read:user", "user:email", "read:org")
_PAGE = 100
# 2,000 teams: more groups than fit into any header.
_MOST_PAGES = 20
_MAX_ANSWER_BYTES = 2 * 1024 * 1024
_MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class _Granted:
    """The token of a login. `lasts` unless it ends by itself, as those of a GitHub App do."""

    token: str = field(repr=False)
    has_organisations: bool
    lasts: bool


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a list says, and whether that is all of it."""

    members: list[Mapping[str, Any]]
    is_whole: bool


class GithubProvider:
    """One configured provider, for one worker and its event loop. Making it asks nobody anything.

    Raises ProviderUnavailableError, ProviderRefusedError or ProviderLiedError, as `OidcProvider` does.
    """

    def __init__(
        self,
        config: GithubConfig,
        *,
        client_secret: str | None,
        redirect_uri: str,
        clock: Callable[[], float],
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._config = config
        self._client_secret = client_secret or ""
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._http = ProviderHttp(config.id, deadline_seconds=0.9 * deadline_seconds)

    async def begin(self, *, state: str, nonce: str, code_verifier: str, prompt: str | None) -> str:
        """Return the address at GitHub where the browser logs in. There is no nonce: no token comes by the browser."""
        digest = hashlib.sha256(code_verifier.encode()).digest()
        parameters = {
            "client_id": self._config.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(SCOPES),
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "allow_signup": "false",
        }
        if prompt:
            parameters["prompt"] = prompt
        return f"{self._config.base_url.removesuffix('/')}/login/oauth/authorize?{urlencode(parameters)}"

    async def finish(self, unverified_query: str, *, nonce: str, code_verifier: str) -> Vouched:
        """Return who GitHub says this is, from the raw query string of its callback."""
        code = self._read_callback(unverified_query)
        async with self._deadline("whole login"):
            granted = await self._http.run("token answer", lambda call: self._request_token(call, code, code_verifier))
            identity = await self._ask_who(granted.token)
        if not granted.has_organisations:
            identity = replace(identity, groups_are_complete=False)
        return Vouched(identity, refresh_token=granted.token if granted.lasts else None)

    async def refresh(self, identity: Identity, refresh_token: str) -> Vouched:
        """Ask again who somebody is, with the token of their login: that of an OAuth app does not end by itself.

        ProviderRefusedError with the cause `token_revoked`, `suspended` or `other_subject` means that GitHub does not
        know the person any more, or not for us.
        """
        async with self._deadline("refresh"):
            found = await self._ask_who(refresh_token)
        if found.subject != identity.subject:
            raise ProviderRefusedError(self._config.id, "other_subject", "the refresh was about somebody else")
        kept = replace(
            found,
            # What was not granted at the login is not granted now.
            groups_are_complete=found.groups_are_complete and identity.groups_are_complete,
            authenticated_at=identity.authenticated_at,
            evaluations=identity.evaluations,
        )
        return Vouched(kept)

    async def _ask_who(self, token: str) -> Identity:
        user, emails, organisations, teams = await asyncio.gather(
            self._get_object(token, "user"),
            self._get_list(token, "user/emails"),
            self._get_list(token, "user/orgs"),
            self._get_list(token, "user/teams"),
        )
        return self._identify(user, emails, organisations, teams)

    async def logout_url(self, id_token: str | None, *, return_url: str) -> str | None:
        """GitHub offers no way to log out by a link."""
        return None

    async def read_logout_token(self, unverified_text: str) -> LogoutToken | None:
        """GitHub says nothing of logouts."""
        return None

    def close(self) -> None:
        """Take no new logins. Calls under way end by themselves."""
        self._http.close()

    @asynccontextmanager
    async def _deadline(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                yield
        except TimeoutError:
            sentence = f"the {what} took longer than {self._deadline_seconds:g} seconds"
            raise ProviderUnavailableError(self._config.id, "timeout", sentence) from None

    def _read_callback(self, unverified_query: str) -> str:
        try:
            callback = parse_callback(unverified_query)
        except ValueError as error:
            raise ProviderLiedError(self._config.id, "callback_invalid", f"the callback {error}") from None
        if callback.code is None:
            cause = render_error_code(callback.error)
            raise ProviderRefusedError(self._config.id, cause, f"the login was refused with {cause}")
        return callback.code

    def _request_token(self, call: Call, code: str, code_verifier: str) -> _Granted:
        """In a thread. GitHub answers its OAuth errors with 200."""
        form = {
            "client_id": self._config.client_id,
            "client_secret": self._client_secret,
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": code_verifier,
        }
        url = f"{self._config.base_url.removesuffix('/')}/login/oauth/access_token"
        with call.open(requests.Session()) as session:
            headers = {"Accept": "application/json"}
            response = session.post(url, data=form, headers=headers, stream=True, allow_redirects=False)
            answer = call.read(response, max_bytes=_MAX_ANSWER_BYTES, statuses=frozenset({200}))
        members = self._parse(answer, "token answer")
        if "error" in members:
            cause = render_error_code(members["error"])
            raise ProviderRefusedError(self._config.id, cause, f"the token answer was refused with {cause}")
        token, kind = members.get("access_token"), members.get("token_type")
        if not isinstance(token, str) or not token or str(kind).lower() != "bearer":
            raise call.lied("token_missing", "has no access token of the type Bearer")
        granted = str(members.get("scope", "")).replace(",", " ").split()
        if "read:org" not in granted:
            # The person may have taken it away, or an administrator: then no rule on organisations matches.
            report("provider.scope_missing", self._config.id, reason="read:org was not granted")
        return _Granted(token, has_organisations="read:org" in granted, lasts="expires_in" not in members)

    async def _get_object(self, token: str, path: str) -> Mapping[str, Any]:
        return self._parse(await self._get(token, path), path)

    async def _get_list(self, token: str, path: str) -> _Listed:
        found: list[Mapping[str, Any]] = []
        is_whole = True
        for page in range(1, _MOST_PAGES + 1):
            answer = await self._get(token, f"{path}?per_page={_PAGE}&page={page}")
            try:
                members = parse_json_array(answer.body)
            except ValueError as error:
                raise ProviderLiedError(self._config.id, "malformed", f"{path} {error}") from None
            if not all(isinstance(member, dict) for member in members):
                raise ProviderLiedError(self._config.id, "malformed", f"{path} is no list of objects")
            found += members
            # Organisations whose own login this person has not been through lately (SAML) are left out.
            is_whole = is_whole and "partial-results" not in answer.headers.get("x-github-sso", "")
            if len(members) < _PAGE:
                if not is_whole:
                    report("provider.groups_ignored", self._config.id, reason=f"GitHub left some of {path} out (SAML)")
                return _Listed(found, is_whole)
        report("provider.groups_ignored", self._config.id, reason=f"more than {_MOST_PAGES * _PAGE} entries of {path}")
        return _Listed(found, is_whole=False)

    async def _get(self, token: str, path: str) -> Answer:
        what, url = path.partition("?")[0], f"{self._config.api_url}/{path}"
        statuses = frozenset({200, 401, 403})
        answer = await self._http.get(what, url, max_bytes=_MAX_ANSWER_BYTES, bearer=token, statuses=statuses)
        if answer.status != 200:
            raise self._explain(what, answer)
        return answer

    def _explain(self, what: str, answer: Answer) -> ProviderError:
        """GitHub says 403 for several things, and only in words which (REST API: Troubleshooting)."""
        if answer.status == 401:
            return ProviderRefusedError(self._config.id, "token_revoked", f"{what} says that the token was revoked")
        text = answer.body.lower()
        if b"account was suspended" in text:
            return self._suspended()
        if b"rate limit" in text:
            return ProviderUnavailableError(
                self._config.id, "rate_limited", f"{what} says that the rate limit is reached"
            )
        return ProviderLiedError(self._config.id, "http_status", f"the {what} came with HTTP {answer.status}")

    def _suspended(self) -> ProviderRefusedError:
        return ProviderRefusedError(self._config.id, "suspended", "the account is suspended")

    def _parse(self, answer: Answer, what: str) -> Mapping[str, Any]:
        try:
            return parse_json_object(answer.body)
        except ValueError as error:
            raise ProviderLiedError(self._config.id, "malformed", f"{what} {error}") from None

    def _identify(
        self,
        user: Mapping[str, Any],
        emails: _Listed,
        organisations: _Listed,
        teams: _Listed,
    ) -> Identity:
        number = user.get("id")
        if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            raise ProviderLiedError(self._config.id, "user_missing", "user has no number (id)")
        if user.get("suspended_at") is not None:
            raise self._suspended()
        email = _find_primary(emails.members)
        name = _find_text(user, "name") or _find_text(user, "login")
        groups = [login for each in organisations.members if (login := _find_text(each, "login"))]
        for team in teams.members:
            organisation = team.get("organization")
            owner = _find_text(organisation, "login") if isinstance(organisation, dict) else None
            slug = _find_text(team, "slug")
            if owner and slug:
                groups.append(f"{owner}/{slug}")
        return Identity(
            subject=derive_subject(self._config.base_url, str(number)),
            provider_id=self._config.id,
            provider_subject=str(number),
            email=email,
            unverified_email=email,
            name=name,
            # GitHub compares logins and slugs without regard to case.
            groups=tuple(dict.fromkeys(group.lower() for group in groups)),
            auth_methods=(),
            authenticated_at=int(self._clock()),
            groups_are_complete=organisations.is_whole and teams.is_whole,
        )


def _find_primary(emails: list[Mapping[str, Any]]) -> str | None:
    """The one address that is primary and verified; GitHub lets people list others' addresses unverified."""
    found = [each for each in emails if each.get("primary") is True and each.get("verified") is True]
    return parse_email(found[0].get("email")) if len(found) == 1 else None


def _find_text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    is_text = isinstance(value, str) and 0 < len(value) <= _MAX_NAME_CHARACTERS and value.isprintable()
    return str(value) if is_text else None
