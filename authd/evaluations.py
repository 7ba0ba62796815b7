"""Evaluators of the operator's own: asked when somebody is handed to an application whose policies want their word.

The protocol is Cloudflare's (reference/access-wire.md 3.6): a signed question about the person, a signed answer to this
very question. What was said stays with the session's identity; no request ever waits for an evaluator. Whatever goes
wrong is no answer, and no answer lets nobody in and spares nobody a denial (docs/adr/0011).
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import requests

from authd.audit import log_event
from authd.errors import KeySetError, ProviderError, TokenError
from authd.idp.http import Call, ProviderHttp
from authd.jose import KeySet, parse_json_object, parse_key_set, parse_unverified_token, verify_signature
from authd.model import Session
from authd.policy.index import Application
from authd.policy.rules import ExternalEvaluationRule
from authd.sessions import Sessions
from authd.tokens import Tokens

# Somebody who opens five tabs is asked about once.
FRESH_SECONDS = 60
DEADLINE_SECONDS = 4.0
KEYS_SECONDS = 300
_LOOK_AGAIN_SECONDS = 30
_MAX_ANSWER_BYTES = 64 * 1024
_ALGORITHMS = frozenset({"RS256"})


class Evaluations:
    """Asks, and remembers with the session. One for each worker."""

    def __init__(
        self, tokens: Tokens, sessions: Sessions, *, clock: Callable[[], float], new_id: Callable[[int], str]
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self._new_id = new_id
        self._http: dict[str, ProviderHttp] = {}
        self._keys: dict[str, tuple[float, KeySet]] = {}

    async def complete(self, session: Session, application: Application) -> Session:
        """The session with all that evaluators have to say for this application. Raises StoreError."""
        now = int(self._clock())
        known = session.identity.evaluations
        due = [
            rule
            for rule in application.evaluations
            if rule.key not in known or now - known[rule.key][1] >= FRESH_SECONDS
        ]
        if not due:
            return session
        said = await asyncio.gather(*(self._ask(rule, session) for rule in due))
        answers = {rule.key: answer for rule, answer in zip(due, said, strict=True)}

        def remember(found: Session) -> Session:
            kept = {key: value for key, value in found.identity.evaluations.items() if key not in answers}
            new = {key: (answer, now) for key, answer in answers.items() if answer is not None}
            return replace(found, identity=replace(found.identity, evaluations=kept | new))

        return await self._sessions.change(session.id, remember) or session

    async def _ask(self, rule: ExternalEvaluationRule, session: Session) -> bool | None:
        """Yes, no, or None where nobody could say."""
        nonce = self._new_id(32)
        question = self._tokens.issue_evaluation_token(_describe(session), evaluate_url=rule.evaluate_url, nonce=nonce)
        http = self._http.setdefault(
            rule.evaluate_url, ProviderHttp(rule.evaluate_url, deadline_seconds=DEADLINE_SECONDS)
        )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                text = await http.run("evaluation", lambda call: _post(call, rule.evaluate_url, question))
                claims = await self._verify(http, rule.keys_url, text)
        except (ProviderError, TokenError, KeySetError, TimeoutError, ValueError) as error:
            self._report(rule, session, str(error) or type(error).__name__)
            return None
        is_answer = isinstance(claims.get("nonce"), str) and hmac.compare_digest(
            claims["nonce"].encode(), nonce.encode()
        )
        if not is_answer or not isinstance(claims.get("exp"), int) or claims["exp"] <= self._clock():
            self._report(rule, session, "the answer is not to this question, or has expired")
            return None
        return claims.get("success") is True

    async def _verify(self, http: ProviderHttp, keys_url: str, text: str) -> Mapping[str, Any]:
        token = parse_unverified_token(text)
        try:
            return self._verify_with(await self._get_keys(http, keys_url, KEYS_SECONDS), token)
        except TokenError:
            return self._verify_with(await self._get_keys(http, keys_url, _LOOK_AGAIN_SECONDS), token)

    def _verify_with(self, keys: KeySet, token: Any) -> Mapping[str, Any]:
        key = keys.find(token.key_id, token.algorithm) if token.key_id else None
        if key is None:
            raise TokenError("token_key_unknown", "the answer is signed with a key that is not published")
        return verify_signature(token, key)

    async def _get_keys(self, http: ProviderHttp, keys_url: str, at_most_seconds: float) -> KeySet:
        fetched_at, keys = self._keys.get(keys_url, (0.0, None))
        if keys is None or self._clock() - fetched_at >= at_most_seconds:
            answer = await http.get("evaluator's keys", keys_url, max_bytes=_MAX_ANSWER_BYTES)
            keys = parse_key_set(answer.body, algorithms=_ALGORITHMS)
            self._keys[keys_url] = self._clock(), keys
        return keys

    def _report(self, rule: ExternalEvaluationRule, session: Session, message: str) -> None:
        log_event(
            "evaluation.failed",
            level="warning",
            url=rule.evaluate_url,
            message=message,
            session=session.id[:6],
            email=session.identity.email,
        )


def _post(call: Call, url: str, question: str) -> str:
    """In a thread."""
    with call.open(requests.Session()) as connection:
        response = connection.post(url, json={"token": question}, stream=True, allow_redirects=False)
        answer = call.read(response, max_bytes=_MAX_ANSWER_BYTES, statuses=frozenset({200}))
    token = parse_json_object(answer.body).get("token")
    if not isinstance(token, str):
        raise call.lied("token_missing", "has no token")
    return token


def _describe(session: Session) -> dict[str, Any]:
    """The person, as get-identity tells it, as far as it fits into a token."""
    identity = session.identity
    described = {
        "id": identity.subject,
        "user_uuid": identity.subject,
        "email": identity.email,
        "name": identity.name,
        "groups": list(identity.groups),
        "amr": list(identity.auth_methods),
        "oidc_fields": dict(identity.claims),
        "idp": {"id": identity.provider_id},
        "geo": {"country": session.country},
        "ip": session.client_ip,
    }
    return described if len(json.dumps(described)) < 200_000 else described | {"groups": [], "oidc_fields": {}}
