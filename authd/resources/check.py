"""`GET /auth`: nginx asks about a request, and is told yes or no. The only place in authd that answers 200 to that
question."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import quote

import falcon
import falcon.asgi

from authd.access import Access, CheckRequest, Verdict
from authd.audit import DecisionLog
from authd.errors import MalformedRequestError
from authd.metrics import Metrics
from authd.model import Decision, Identity, Outcome, Reason
from authd.resources.nginx_request import NginxHeaders, parse_check_request

_STATUS = {Outcome.LOGIN: falcon.HTTP_401, Outcome.DENY: falcon.HTTP_403}
# Printable ASCII but for "%" and the comma that parts one group from the next.
_HEADER_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in '%,"\\')
# nginx keeps 32k for all headers of the answer; the token and the cache key need some of it.
MAX_GROUPS_BYTES = 12_000
_REMEMBERED_IDENTITIES = 5_000


class CheckResource:
    """Answers 200, 401 or 403. Middleware has set 403 before anything here runs; an exception becomes a 500, a refusal
    too."""

    def __init__(
        self, access: Access, decisions: DecisionLog, metrics: Metrics, forget_after: int = _REMEMBERED_IDENTITIES
    ) -> None:
        self._access = access
        self._decisions = decisions
        self._metrics = metrics
        self._headers_by_session: dict[str, dict[str, str]] = {}
        self._forget_after = forget_after

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        started = perf_counter()
        request: CheckRequest | None = None
        try:
            headers = NginxHeaders(req.scope["headers"])
            request = parse_check_request(headers)
            verdict = await self._access.check(request)
        except MalformedRequestError:
            verdict = Verdict(Decision(Outcome.DENY, Reason.MALFORMED_REQUEST))
        self._answer(resp, verdict)
        decision = verdict.decision
        self._metrics.count_decision(
            decision.application_id or "", decision.outcome, decision.reason, perf_counter() - started
        )
        self._log(verdict, _log_fields(verdict, request, req))

    async def on_options(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Refused like every method but GET: falcon's own answer to OPTIONS is a 200."""
        raise falcon.HTTPMethodNotAllowed(["GET"])

    def _answer(self, resp: falcon.asgi.Response, verdict: Verdict) -> None:
        outcome = verdict.decision.outcome
        if outcome is Outcome.ALLOW or outcome is Outcome.BYPASS:
            resp.status = falcon.HTTP_200  # the one line that lets somebody in
            resp.set_header("X-Accel-Expires", f"@{verdict.cacheable_until}" if verdict.cacheable_until else "0")
            self._set_identity(resp, verdict)
        else:
            resp.status = _STATUS[outcome]
            resp.set_header("X-Accel-Expires", "0")

    def _set_identity(self, resp: falcon.asgi.Response, verdict: Verdict) -> None:
        """Tell the application who it is. A bypassed request has no identity, even if a token came with it."""
        session = verdict.session
        if session is None or verdict.decision.outcome is Outcome.BYPASS:
            return
        headers = self._headers_by_session.get(session.id)
        if headers is None:
            if len(self._headers_by_session) >= self._forget_after:
                self._headers_by_session.clear()
            headers = self._headers_by_session[session.id] = render_identity_headers(session.identity)
        resp.set_headers(headers)
        if verdict.token:
            resp.set_header("Cf-Access-Jwt-Assertion", verdict.token)

    def _log(self, verdict: Verdict, fields: Callable[[], dict[str, Any]]) -> None:
        if verdict.decision.outcome is Outcome.ALLOW:
            session_id = verdict.session.id if verdict.session else ""
            self._decisions.allowed(f"{session_id} {verdict.decision.application_id}", fields)
        elif verdict.decision.outcome is not Outcome.BYPASS:
            self._decisions.refused(fields)


def render_identity_headers(identity: Identity) -> dict[str, str]:
    """The identity as headers. What is not printable ASCII is percent-encoded as UTF-8, commas within a group too.

    Groups that do not fit into MAX_GROUPS_BYTES are left out: an application that needs all of them asks get-identity.
    """
    headers = {"X-Authd-User": _encode_header(identity.email or identity.subject)}
    if identity.email:
        headers["Cf-Access-Authenticated-User-Email"] = _encode_header(identity.email)
    groups, size = [], 0
    for group in identity.groups:
        encoded = _encode_header(group)
        size += len(encoded) + 1
        if size > MAX_GROUPS_BYTES:
            break
        groups.append(encoded)
    if groups:
        headers["X-Authd-Groups"] = ",".join(groups)
    return headers


def _encode_header(text: str) -> str:
    encoded = quote(text.encode("utf-8", "replace"), safe=_HEADER_SAFE)
    # Applications trim what stands between two commas: " admins" must not arrive as "admins".
    return re.sub(r"\A | \Z", "%20", encoded)


def _log_fields(
    verdict: Verdict, request: CheckRequest | None, req: falcon.asgi.Request
) -> Callable[[], dict[str, Any]]:
    """The fields of the log line, made only if it is written. No query: it may hold secrets of the application."""

    def fields() -> dict[str, Any]:
        decision = verdict.decision
        return {
            "outcome": decision.outcome.value,
            "reason": decision.reason.value,
            "app": decision.application_id,
            "policy": decision.policy_name,
            "rule": decision.rule,
            "email": verdict.session.identity.email if verdict.session else None,
            "session": verdict.session.id[:6] if verdict.session else None,
            "ip": str(request.client_ip) if request else None,
            "method": request.method if request else None,
            "host": request.url.host if request else None,
            "path": request.url.raw_path if request else None,
            "claimed_app": request.claimed_application or None if request else None,
            "request_id": req.get_header("X-Request-Id"),
        }

    return fields
