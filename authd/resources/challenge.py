"""`/challenge`: what somebody sees who was not let in. nginx comes here with the original method after a 401 or 403.

The decision is made again, for its reason; only the form of the answer depends on the visitor's own headers.
"""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi

from authd.access import Access, Verdict
from authd.credentials import CheckRequest
from authd.login import Login
from authd.model import Decision, Outcome, Reason
from authd.policy.index import Application
from authd.resources.answers import Answers
from authd.resources.cors import render_cors_headers, render_preflight_headers
from authd.resources.nginx_request import Negotiation, NginxHeaders, parse_check_request, parse_negotiation
from authd.urls import find_return_path

_SERVICE_TOKEN_REASONS = frozenset(reason for reason in Reason if reason.startswith("service_token_"))
_URL_REASONS = frozenset({Reason.AMBIGUOUS_URL, Reason.MALFORMED_REQUEST})


class Challenge:
    """A falcon sink: it answers every method."""

    def __init__(self, access: Access, login: Login, answers: Answers) -> None:
        self._access = access
        self._login = login
        self._answers = answers

    async def __call__(self, req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: Any) -> None:
        """Raises MalformedRequestError and StoreError, which the error handlers answer."""
        if resp is None:
            raise falcon.HTTPNotFound  # a WebSocket of falcon's own kind: nginx never opens one to us
        headers = NginxHeaders(req.scope["headers"])
        request = parse_check_request(headers)
        negotiation = parse_negotiation(headers, request.url.raw_query or "")
        verdict = await self._access.check(request)
        application, origin = verdict.application, headers.text(b"origin")
        if application:
            self._answers.name_application(resp, application, request.url.host)
            if request.is_preflight and application.cors:
                return _answer_preflight(resp, application, headers)
            resp.set_headers(render_cors_headers(application.cors, origin))
        if verdict.decision.outcome is Outcome.DENY:
            return self._answer_denied(resp, verdict, request, negotiation)
        if application is None or headers.text(b"x-authd-check") == "403":
            # The check refused, and now it would not: something changed in between. Asking again is the answer.
            return self._answers.outage(resp, "The decision about this request has just changed. Please try again.")
        if verdict.credential.is_bearer:
            return self._answers.bearer_refused(resp)
        return self._answer_login(resp, application, request, negotiation, verdict.decision)

    def _answer_denied(
        self, resp: falcon.asgi.Response, verdict: Verdict, request: CheckRequest, negotiation: Negotiation
    ) -> None:
        decision, credential = verdict.decision, verdict.credential
        if decision.reason in _URL_REASONS:
            return self._answers.malformed(resp, decision.reason, as_page=negotiation.is_navigation)
        return self._answers.denied(
            resp,
            decision,
            application=verdict.application,
            host=request.url.host,
            return_path=_return_path(request),
            account=credential.identity.account if credential.identity else None,
            as_page=negotiation.is_navigation and credential.machine is None,
        )

    def _answer_login(
        self,
        resp: falcon.asgi.Response,
        application: Application,
        request: CheckRequest,
        negotiation: Negotiation,
        decision: Decision,
    ) -> None:
        host, return_path = request.url.host, _return_path(request)
        if decision.reason in _SERVICE_TOKEN_REASONS:
            return self._answers.service_token_refused(resp)
        if application.issuer:
            return self._answers.edge_needed(resp, application, host, as_page=negotiation.is_navigation)
        is_read = request.method in ("GET", "HEAD")
        if is_read and negotiation.wants_redirect:
            if self._login.is_looping(application, request.cookie_header):
                return self._answers.login_loop(resp, decision.reason, host, return_path)
            redirect = self._login.begin(application, host, return_path, request.cookie_header)
            return self._answers.redirect(resp, redirect.location, redirect.cookies)
        if not is_read and negotiation.is_navigation:
            return self._answers.login_needed(resp, application, host, return_path, request.method)
        return self._answers.login_required_json(resp, self._login.login_url(application, host, "/"))


def _return_path(request: CheckRequest) -> str:
    return find_return_path(request.url.raw_target) or "/"


def _answer_preflight(resp: falcon.asgi.Response, application: Application, headers: NginxHeaders) -> None:
    allowed = render_preflight_headers(
        application.cors,
        origin=headers.text(b"origin"),
        method=headers.text(b"access-control-request-method"),
        headers=headers.text(b"access-control-request-headers"),
    )
    resp.status = falcon.HTTP_204 if allowed else falcon.HTTP_403
    resp.set_headers(allowed)
